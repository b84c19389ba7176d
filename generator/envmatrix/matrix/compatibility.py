"""The compatibility rules that decide which cells can exist. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from envmatrix.facts.cuda import Package
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import CROSS_HOST
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import ARCHES, Candidate, CudaSource, Toolchain
from envmatrix.matrix.subject import IMAGE, Subject


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one rule for one cell; `explanation` holds whether it passed or failed."""

    rule: str
    passed: bool
    explanation: str
    ref: str


Rule = Callable[[Subject], Verdict]

_NO_CUDNN = "the cell has no cuDNN"


def _passed(rule: str, explanation: str, ref: str) -> Verdict:
    return Verdict(rule, passed=True, explanation=explanation, ref=ref)


def _failed(rule: str, explanation: str, ref: str) -> Verdict:
    return Verdict(rule, passed=False, explanation=explanation, ref=ref)


def _build_hosts(subject: Subject) -> str:
    """Describe the machines that compile for the cell's target, in the cell's system."""
    row = subject.target
    if not row.is_native:
        return f"on {CROSS_HOST} only"
    if row.crossed == "also" and row.processor in subject.os.cross_gcc and subject.source != IMAGE:
        return f"on {CROSS_HOST} and on itself"
    return "on itself, elsewhere under emulation"


def check(
    cell: Candidate, facts: Facts, source: str | None = None, components: tuple[str, ...] = ()
) -> Toolchain | Verdict:
    """Return the toolchain of a cell, or the verdict of the first rule that it fails.

    `source` is the required source of CUDA, if any; `components` are those it must have.
    """
    subject = _subject(cell, facts, source, components)
    if isinstance(subject, Verdict):
        return subject
    failed = (verdict for verdict in _verdicts(subject) if not verdict.passed)
    return next(failed, None) or _toolchain(subject)


def trace(
    cell: Candidate, facts: Facts, source: str | None = None, components: tuple[str, ...] = ()
) -> tuple[Verdict, ...]:
    """Return the verdicts of all rules, including those after a failed one."""
    subject = _subject(cell, facts, source, components)
    return (subject,) if isinstance(subject, Verdict) else tuple(_verdicts(subject))


def _verdicts(subject: Subject) -> Iterator[Verdict]:
    without_cudnn = replace(subject.cell, cudnn=None)
    yield from _toolkit_verdicts(without_cudnn, subject.facts, subject.source, subject.components)
    for rule in CUDNN_RULES:
        yield rule(subject)


@lru_cache(maxsize=1024)
def _toolkit_verdicts(
    cell: Candidate, facts: Facts, source: str | None, components: tuple[str, ...]
) -> tuple[Verdict, ...]:
    """Return the verdicts that do not depend on cuDNN, once for all cells that differ in it
    only."""
    subject = _subject(cell, facts, source, components)
    if isinstance(subject, Verdict):
        return ()
    rules = TOOLKIT_RULES if subject.target.cuda else HOST_RULES
    return tuple(rule(subject) for rule in rules)


def _subject(
    cell: Candidate, facts: Facts, source: str | None, components: tuple[str, ...]
) -> Subject | Verdict:
    release = facts.release(cell.cuda)
    if release is None:
        return _failed("cuda", f"unknown CUDA release `{cell.cuda}`", "cuda.yaml")
    if cell.os not in facts.os:
        return _failed("os", f"unknown operating system `{cell.os}`", "os.yaml")
    if cell.arch not in ARCHES:
        return _failed("arch", f"unknown architecture `{cell.arch}`", "targets.yaml")
    required = facts.with_needs(components, release.release)
    return Subject(cell, release, facts.os[cell.os], facts, source, required)


def _toolchain(subject: Subject) -> Toolchain:
    package = subject.packages[0] if subject.target.cuda else None
    project = subject.cudnn_project
    return Toolchain(
        gcc=max(subject.host_compilers, key=int),
        cuda=CudaSource(package.source, package.suite) if package else CudaSource("none", None),
        cudnn_project=project.project if project else None,
        cudnn_source=subject.cudnn_source if subject.cell.cudnn else None,
        sm=subject.release.sm,
        cross=subject.target.processor in subject.os.cross_gcc,
    )


def target(subject: Subject) -> Verdict:
    row, release = subject.target, subject.release.release
    if row.last and not in_range(release, "0", row.last.release):
        explanation = f"the last CUDA for {row.name} is {row.last.release}: {row.last.reason}"
        return _failed("target", explanation, row.last.ref)
    if any(row.packages.values()) and subject.os.family.name != "deb":
        explanation = f"compilers for {row.name} are supported on Debian and its derivatives only"
        return _failed("target", explanation, row.ref)
    if subject.source == IMAGE and row.cuda and not row.is_native:
        explanation = (
            f"CUDA in an image is for the image's own architecture, and {row.name} is compiled for "
            f"{_build_hosts(subject)}; an image of L4T is one of `{row.processor}`"
        )
        return _failed("target", explanation, row.ref)
    explanation = f"{row.name} is compiled for {_build_hosts(subject)}"
    if row.host_only:
        explanation += f", by libraries that need no CUDA alone: {row.host_only}"
    return _passed("target", explanation, row.ref)


def cuda_source(subject: Subject) -> Verdict:
    release, packages = subject.release, _relevant_packages(subject)
    if subject.source == IMAGE:
        explanation = (
            f"the matrix names an image in which `envmatrix lock` looks for CUDA {release.release}"
        )
        return _passed("source", explanation, "matrix.yaml")
    explanation = f"CUDA {release.release} comes from {_listed(_sources(packages))}"
    if subject.source:
        explanation += f"; the matrix names {subject.source}"
    for package in packages:
        if not package.suits(subject.os.distribution):
            supported = _listed(package.distributions or ())
            explanation += f"; packages of {package.source} are made for {supported} alone"
    if subject.has_patch and not subject.offered_packages and subject.source in (None, "debian"):
        explanation += ", which cannot be asked for a patch"
    return Verdict("source", bool(subject.offered_packages), explanation, _package_refs(subject))


def cuda_arch(subject: Subject) -> Verdict:
    arches = dict.fromkeys(arch for p in subject.offered_packages for arch in p.arches)
    explanation = f"CUDA {subject.release.release} is packaged for {_listed(arches)}"
    passed = subject.cell.arch in arches or not subject.offered_packages
    return Verdict("arch", passed, explanation, _package_refs(subject))


def host_compiler(subject: Subject) -> Verdict:
    release, os = subject.release, subject.os
    explanation = (
        f"CUDA {release.release} takes GCC {release.host.gcc_min} to {release.host.gcc_max}; "
        f"{os.name} has {_listed(subject.available_gcc)}"
    )
    ref = f"{release.host.ref}; {os.ref}"
    return Verdict("host-compiler", bool(subject.host_compilers), explanation, ref)


def glibc(subject: Subject) -> Verdict:
    release = subject.release
    packages = [
        package for package in subject.offered_packages if subject.cell.arch in package.arches
    ]
    needed = min((package.glibc for package in packages), key=version_key, default="none")
    explanation = (
        f"the packages of CUDA {release.release} need glibc {needed} or later; "
        f"{subject.os.name} has {subject.os.glibc}"
    )
    if not packages:
        explanation = f"there are no packages of CUDA {release.release} to ask"
    passed = bool(subject.packages or not packages)
    return Verdict("glibc", passed, explanation, _package_refs(subject))


def conflict(subject: Subject) -> Verdict:
    """Check the rows of conflicts.yaml, each a rule of its own name."""
    conflicts = subject.facts.conflicts
    for row in conflicts:
        if (
            row.arch in (None, subject.target.processor)
            and version_key(row.glibc_min) <= version_key(subject.os.glibc)
            and in_range(subject.release.release, row.cuda_min, row.cuda_max)
        ):
            return _failed(row.rule, row.reason, row.ref)
    rules = _listed(row.rule for row in conflicts)
    return _passed(rules, "no known conflict between parts that each work", "conflicts.yaml")


def components(subject: Subject) -> Verdict:
    packages = subject.packages
    if packages and subject.missing_components(packages[0]):
        return _missing_components_verdict(subject)
    explanation = f"from {packages[0].source}: " if packages else "with no source to look at: "
    explanation += _listed(subject.components)
    return _passed("components", explanation, "component_names.yaml")


def _missing_components_verdict(subject: Subject) -> Verdict:
    """Explain why each source lacks components, and name the sources that have them all."""
    absences = [
        absence
        for package in subject.packages
        for absence in subject.missing_components(package).items()
    ]
    reasons = dict.fromkeys(
        f"component `{name}` is not in {row.source or f'CUDA {subject.release.release}'}: "
        f"{row.reason}"
        for name, row in absences
    )
    others = replace(subject, source=None)
    complete = [row.source for row in others.packages if not others.missing_components(row)]
    if complete:
        reasons[f"`sources` may name {_listed(complete)}"] = None
    ref = _refs((row.ref for _, row in absences), "absences.yaml")
    return _failed("components", "; ".join(reasons), ref)


def cudnn_for_cuda(subject: Subject) -> Verdict:
    cudnn, release, rows = subject.cell.cudnn, subject.release.release, subject.cudnn_support
    if cudnn is None:
        return _passed("cudnn", _NO_CUDNN, "cudnn.yaml")
    ranges = " and ".join(_range(row.first, row.last) for row in rows) or "of no version"
    explanation = f"CUDA {release} is supported by cuDNN {ranges}; the cell has {cudnn}"
    passed = any(in_range(cudnn, row.first, row.last) for row in rows)
    ref = _refs((row.ref for row in rows), "cudnn.yaml")
    return Verdict("cudnn", passed, explanation, ref)


def cudnn_arch(subject: Subject) -> Verdict:
    cell, rows = subject.cell, subject.cudnn_projects
    if cell.cudnn is None:
        return _passed("cudnn-arch", _NO_CUDNN, "cudnn.yaml")
    if subject.source == IMAGE:
        explanation = "`envmatrix lock` looks for cuDNN in the image that the matrix names"
        return _passed("cudnn-arch", explanation, "matrix.yaml")
    published = _listed(f"{_range(row.first, row.last)} for {row.arch}" for row in rows)
    explanation = (
        f"cuDNN packages for CUDA {subject.release.release}: {published}; "
        f"the cell has {cell.cudnn} for {cell.arch}"
    )
    ref = _refs((row.ref for row in rows), "cudnn.yaml")
    return Verdict("cudnn-arch", subject.cudnn_project is not None, explanation, ref)


# In the order of importance to a reader; the first that fails is the reason of an exclusion.
TOOLKIT_RULES: tuple[Rule, ...] = (
    target,
    cuda_source,
    cuda_arch,
    host_compiler,
    glibc,
    conflict,
    components,
)
# Where no CUDA is compiled for the target.
HOST_RULES: tuple[Rule, ...] = (target, host_compiler)
CUDNN_RULES: tuple[Rule, ...] = (cudnn_for_cuda, cudnn_arch)


def _relevant_packages(subject: Subject) -> list[Package]:
    """Return the packages for the cell's operating system, and where the matrix names a source that
    has none for it, all of that source."""
    named = subject.source if not subject.offered_packages else None
    return [
        package
        for package in subject.release.packages
        if package.os in (None, subject.os.name) or package.source == named
    ]


def _sources(packages: Iterable[Package]) -> Iterator[str]:
    """Yield each source once, with its repositories that are for some systems only."""
    repositories: dict[str, dict[str, None]] = {}
    for package in packages:
        suites = repositories.setdefault(package.source, {})
        if package.os and package.suite:
            suites[package.suite] = None
    for source, names in repositories.items():
        yield f"{source} for {' and '.join(names)}" if names else source


def _range(first: str, last: str | None) -> str:
    return f"{first} to {last}" if last else f"{first} and later"


def _package_refs(subject: Subject) -> str:
    return _refs((package.ref for package in _relevant_packages(subject)), "sources.yaml")


def _refs(refs: Iterable[str], otherwise: str) -> str:
    return "; ".join(dict.fromkeys(refs)) or otherwise


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
