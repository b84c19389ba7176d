"""The compatibility rules that decide which cells can exist. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from envmatrix.facts.cuda import Package
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import CROSS_HOST
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import (
    TITLES,
    Candidate,
    CudaSource,
    HostCompiler,
    Toolchain,
    gil_release,
    parse_compiler,
)
from envmatrix.matrix.pythons import nearest_python
from envmatrix.matrix.toolkit import IMAGE, Toolkit, find_toolkit
from envmatrix.records import dataclass
from envmatrix.text import leading_names

# More systems are counted, not named.
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one rule for one cell; `explanation` holds whether it passed or failed."""

    rule: str
    passed: bool
    explanation: str
    ref: str


Rule = Callable[[Toolkit], Verdict]
CudnnRule = Callable[[Toolkit, str], Verdict]


def _passed(rule: str, explanation: str, ref: str) -> Verdict:
    return Verdict(rule, passed=True, explanation=explanation, ref=ref)


def _failed(rule: str, explanation: str, ref: str) -> Verdict:
    return Verdict(rule, passed=False, explanation=explanation, ref=ref)


def check(
    cell: Candidate, facts: Facts, source: str | None = None, components: tuple[str, ...] = ()
) -> Toolchain | Verdict:
    """Return the toolchain of a cell, or the verdict of the first rule that it fails.

    `source` is the required source of CUDA, if any; `components` are those it must have.
    """
    toolkit = _toolkit(cell, facts, source, components)
    if isinstance(toolkit, Verdict):
        return toolkit
    return _failed_rule(toolkit, cell) or _toolchain(toolkit, cell)


def _failed_rule(toolkit: Toolkit, cell: Candidate) -> Verdict | None:
    """Return the verdict of the first rule that a cell fails."""
    failed = (verdict for verdict in _verdicts_of_cell(toolkit, cell) if not verdict.passed)
    return _failed_toolkit_rule(toolkit) or next(failed, None)


def trace(
    cell: Candidate, facts: Facts, source: str | None = None, components: tuple[str, ...] = ()
) -> tuple[Verdict, ...]:
    """Return the verdicts of all rules, including those after a failed one."""
    toolkit = _toolkit(cell, facts, source, components)
    if isinstance(toolkit, Verdict):
        return (toolkit,)
    return (*_verdicts_of_toolkit(toolkit), *_verdicts_of_cell(toolkit, cell))


def _toolkit(
    cell: Candidate, facts: Facts, source: str | None, components: tuple[str, ...]
) -> Toolkit | Verdict:
    toolkit = find_toolkit(cell.cuda, cell.os, cell.arch, facts, source, components)
    if toolkit is not None:
        return toolkit
    if facts.release(cell.cuda) is None:
        return _failed("cuda", f"unknown CUDA release `{cell.cuda}`", "cuda.yaml")
    if cell.os not in facts.os:
        return _failed("os", f"unknown operating system `{cell.os}`", "os.yaml")
    return _failed("arch", f"unknown architecture `{cell.arch}`", "targets.py")


def _verdicts_of_toolkit(toolkit: Toolkit) -> Iterator[Verdict]:
    for rule in TOOLKIT_RULES if toolkit.target.cuda else HOST_RULES:
        yield rule(toolkit)


# Cached for all cells that differ in cuDNN and compilers only; a toolkit is the same for them.
@lru_cache(maxsize=1024)
def _failed_toolkit_rule(toolkit: Toolkit) -> Verdict | None:
    return next((row for row in _verdicts_of_toolkit(toolkit) if not row.passed), None)


def _verdicts_of_cell(toolkit: Toolkit, cell: Candidate) -> Iterator[Verdict]:
    if cell.compiler or cell.cuda_compiler:
        yield from _compiler_verdicts(toolkit, cell.compiler, cell.cuda_compiler)
    if cell.python:
        yield chosen_python(toolkit, cell.python)
    yield from _cudnn_verdicts(toolkit, cell.cudnn)


# Cached for all cells that differ in compilers only.
@lru_cache(maxsize=1024)
def _cudnn_verdicts(toolkit: Toolkit, cudnn: str | None) -> tuple[Verdict, ...]:
    if cudnn is None:
        without = "the cell has no cuDNN"
        return tuple(_passed(name, without, "cudnn.yaml") for name in CUDNN_RULES)
    return tuple(rule(toolkit, cudnn) for rule in CUDNN_RULES.values())


@lru_cache(maxsize=1024)
def _compiler_verdicts(
    toolkit: Toolkit, compiler: str | None, cuda_compiler: str | None
) -> tuple[Verdict, ...]:
    rows = []
    if compiler:
        rows.append(chosen_compiler(toolkit, parse_compiler(compiler), cuda_compiler))
    if cuda_compiler:
        rows.append(chosen_cuda_compiler(toolkit, compiler))
    return tuple(rows)


def _toolchain(toolkit: Toolkit, cell: Candidate) -> Toolchain:
    clang = parse_compiler(cell.compiler).major if cell.cuda_compiler and cell.compiler else None
    return _toolchain_of(toolkit, cell.cudnn, clang)


# Cached for all cells that differ in compilers only.
@lru_cache(maxsize=1024)
def _toolchain_of(toolkit: Toolkit, cudnn: str | None, clang: str | None) -> Toolchain:
    """Return the toolchain of a cell; `clang` is the major that compiles CUDA, without nvcc."""
    of_compiler = toolkit.release.sm if clang is None else toolkit.facts.clang[clang].sm
    package = toolkit.packages[0] if toolkit.target.cuda else None
    project = toolkit.cudnn_project(cudnn) if cudnn else None
    return Toolchain(
        gcc=max(toolkit.host_compilers, key=int),
        cuda=CudaSource(package.source, package.suite) if package else CudaSource("none", None),
        cudnn_project=project.project if project else None,
        cudnn_source=toolkit.cudnn_source if cudnn else None,
        sm=tuple(sm for sm in toolkit.release.sm if sm in of_compiler),
        cross=toolkit.target.processor in toolkit.os.cross_gcc,
    )


def target(toolkit: Toolkit) -> Verdict:
    row, release = toolkit.target, toolkit.release.release
    if row.last and not in_range(release, "0", row.last.release):
        explanation = f"the last CUDA for {row.name} is {row.last.release}: {row.last.reason}"
        return _failed("target", explanation, row.last.ref)
    if any(row.packages.values()) and toolkit.os.family.name != "deb":
        explanation = f"compilers for {row.name} are supported on Debian and its derivatives only"
        return _failed("target", explanation, row.ref)
    if toolkit.source == IMAGE and row.cuda and not row.is_native:
        explanation = (
            f"CUDA in an image is for the image's own architecture, and {row.name} is compiled for "
            f"{_build_hosts(toolkit)}; an image of L4T is one of `{row.processor}`"
        )
        return _failed("target", explanation, row.ref)
    explanation = f"{row.name} is compiled for {_build_hosts(toolkit)}"
    if row.host_only:
        explanation += f", by libraries that need no CUDA alone: {row.host_only}"
    return _passed("target", explanation, row.ref)


def _build_hosts(toolkit: Toolkit) -> str:
    """Describe the machines that compile for the target, in the operating system."""
    row = toolkit.target
    if not row.is_native:
        return f"on {CROSS_HOST} only"
    if row.crossed == "also" and row.processor in toolkit.os.cross_gcc and toolkit.source != IMAGE:
        return f"on {CROSS_HOST} and on itself"
    return "on itself, elsewhere under emulation"


def cuda_source(toolkit: Toolkit) -> Verdict:
    release, packages = toolkit.release, _relevant_packages(toolkit)
    if toolkit.source == IMAGE:
        explanation = (
            f"the matrix names an image in which `envmatrix lock` looks for CUDA {release.release}"
        )
        return _passed("source", explanation, "matrix.yaml")
    explanation = f"CUDA {release.release} comes from {_listed(_sources(packages))}"
    if toolkit.source:
        explanation += f"; the matrix names {toolkit.source}"
    for package in packages:
        if not package.suits(toolkit.os.distribution):
            supported = _listed(package.distributions or ())
            explanation += f"; packages of {package.source} are made for {supported} alone"
    if toolkit.has_patch and not toolkit.offered_packages and toolkit.source in (None, "debian"):
        explanation += ", which cannot be asked for a patch"
    return Verdict("source", bool(toolkit.offered_packages), explanation, _package_refs(toolkit))


def cuda_arch(toolkit: Toolkit) -> Verdict:
    arches = dict.fromkeys(arch for p in toolkit.offered_packages for arch in p.arches)
    explanation = f"CUDA {toolkit.release.release} is packaged for {_listed(arches)}"
    passed = toolkit.target.name in arches or not toolkit.offered_packages
    return Verdict("arch", passed, explanation, _package_refs(toolkit))


def host_compiler(toolkit: Toolkit) -> Verdict:
    release, os = toolkit.release, toolkit.os
    explanation = (
        f"CUDA {release.release} takes GCC {release.host.gcc_min} to {release.host.gcc_max}; "
        f"{os.name} has {_listed(toolkit.available_gcc)}"
    )
    ref = f"{release.host.ref}; {os.ref}"
    return Verdict("host-compiler", bool(toolkit.host_compilers), explanation, ref)


def chosen_compiler(toolkit: Toolkit, compiler: HostCompiler, cuda_compiler: str | None) -> Verdict:
    """Check a compiler other than the default one."""
    os, target, title = toolkit.os, toolkit.target, TITLES[compiler.kind]
    majors = toolkit.available_majors(compiler.kind)
    if target.brings_compiler:
        explanation = f"{target.name} has a compiler of its own"
        return _failed("compiler", explanation, target.ref)
    if os.family.name != "deb":
        explanation = "a second compiler is supported on Debian and its derivatives only"
        return _failed("compiler", explanation, os.ref)
    supported = toolkit.supported_majors(compiler.kind, cuda_compiler)
    release, (oldest, newest) = toolkit.release, toolkit.release.host.range_of(compiler.kind)
    explanation = f"no {title} is known of {os.name}"
    if majors:
        explanation = f"{os.name} has {title} {_listed(majors)}"
    if not cuda_compiler:
        explanation += f"; nvcc of CUDA {release.release} takes {title} {oldest} to {newest}"
    elif majors and not compiler.major.isdecimal() and (row := toolkit.facts.clang.get(majors[-1])):
        explanation += f"; {title} {majors[-1]} compiles CUDA up to {row.cuda or 'none'}"
        explanation += f"; the cell has {release.release}"
    ref = f"{os.ref}; {release.host.ref}"
    is_available = compiler.major in majors
    # What Clang compiles of CUDA is a rule of its own.
    if compiler.major in supported or (is_available and cuda_compiler):
        return _passed("compiler", explanation, ref)
    if compiler.major.isdecimal() and not is_available:
        explanation += f"; {compiler.title} is in {_systems_with(compiler, toolkit.facts)}"
    return _failed("compiler", f"{explanation}{_nearest(compiler, supported)}", ref)


def _systems_with(compiler: HostCompiler, facts: Facts) -> str:
    """List the systems with a compiler."""
    names = [os.name for os in facts.os.values() if compiler.major in os.majors(compiler.kind)]
    return leading_names(names, _MOST_NAMED, "system") if names else "no known system"


def _nearest(compiler: HostCompiler, majors: Sequence[str]) -> str:
    """Name the compiler of the same kind, among these majors, that is the nearest to one."""
    if not majors:
        return ""
    major = int(compiler.major) if compiler.major.isdecimal() else int(majors[-1])
    nearest = min(majors, key=lambda each: abs(int(each) - major))
    return f"; the nearest is `{replace(compiler, major=nearest).name}`"


def chosen_cuda_compiler(toolkit: Toolkit, compiler: str | None) -> Verdict:
    """Check Clang as the compiler of CUDA, which is its own host compiler."""
    release, host = toolkit.release.release, parse_compiler(compiler) if compiler else None
    clangs = toolkit.supported_majors("clang", "clang")
    nearest = f"; the nearest is `clang-{clangs[-1]}`" if clangs else ""
    if not toolkit.target.cuda:
        explanation = f"no CUDA is compiled for {toolkit.target.name}"
        return _failed("cuda-compiler", explanation, toolkit.target.ref)
    if host is None or host.kind != "clang":
        title = host.title if host else "the default compiler, a GCC"
        explanation = f"Clang compiles CUDA for itself as the host compiler, not for {title}"
        return _failed("cuda-compiler", f"{explanation}{nearest}", "clang.yaml")
    row = toolkit.facts.clang.get(host.major)
    newest = f"CUDA up to {row.cuda}" if row and row.cuda else "no known release of CUDA"
    explanation = f"{host.title} compiles {newest}; the cell has {release}"
    ref = row.ref if row else "clang.yaml"
    if toolkit.is_compiled_by(host.major):
        return _passed("cuda-compiler", explanation, ref)
    return _failed("cuda-compiler", f"{explanation}{_nearest(host, clangs)}", ref)


def chosen_python(toolkit: Toolkit, python: str) -> Verdict:
    """Check a Python other than that of the operating system, which is compiled."""
    os, target, facts = toolkit.os, toolkit.target, toolkit.facts
    release = gil_release(python)
    if toolkit.source == IMAGE:
        explanation = "an image that has CUDA has its own Python alone"
        return _failed("python", explanation, "pythons.yaml")
    if not os.python_libraries:
        names = [each.name for each in facts.os.values() if each.python_libraries]
        has = f"{os.name} has Python {os.python}" if os.python else f"{os.name} has its own Python"
        explanation = f"{has}; others are compiled in {_listed(names)} alone"
        return _failed("python", explanation, os.ref)
    is_crossed = target.is_native and target.processor in os.cross_gcc
    if target.name != CROSS_HOST and not is_crossed:
        explanation = f"Python is compiled on {CROSS_HOST}, and not for {target.name}"
        return _failed("python", explanation, target.ref)
    row, is_free = facts.pythons.get(release), python != release
    if row and (row.free_threaded or not is_free):
        explanation = (
            f"{os.name} has Python {os.python}; {python} is compiled from the source in {row.suite}"
        )
        return _passed("python", explanation, row.ref)
    names = [name for name, each in facts.pythons.items() if each.free_threaded or not is_free]
    systems = [each.name for each in facts.os.values() if each.python == python]
    explanation = (
        f"Python {python} has no source{f', and is in {_listed(systems)}' if systems else ''}; "
        f"{_listed(names)} {'has' if len(names) == 1 else 'have'} one"
        f"{' for a Python without the GIL' if is_free else ''}; the nearest is "
        f"`{nearest_python(python, facts)}`"
    )
    return _failed("python", explanation, "pythons.yaml")


def glibc(toolkit: Toolkit) -> Verdict:
    release = toolkit.release
    packages = [
        package for package in toolkit.offered_packages if toolkit.target.name in package.arches
    ]
    needed = min((package.glibc for package in packages), key=version_key, default="none")
    explanation = (
        f"the packages of CUDA {release.release} need glibc {needed} or later; "
        f"{toolkit.os.name} has {toolkit.os.glibc}"
    )
    if not packages:
        explanation = f"there are no packages of CUDA {release.release} to ask"
    passed = bool(toolkit.packages or not packages)
    return Verdict("glibc", passed, explanation, _package_refs(toolkit))


def conflict(toolkit: Toolkit) -> Verdict:
    """Check the rows of conflicts.yaml, each a rule of its own name."""
    for row in toolkit.facts.conflicts:
        if (
            row.arch in (None, toolkit.target.processor)
            and version_key(row.glibc_min) <= version_key(toolkit.os.glibc)
            and in_range(toolkit.release.release, row.cuda_min, row.cuda_max)
        ):
            return _failed(row.rule, row.reason, row.ref)
    rules = _listed(row.rule for row in toolkit.facts.conflicts)
    return _passed(rules, "no known conflict between parts that each work", "conflicts.yaml")


def components(toolkit: Toolkit) -> Verdict:
    packages = toolkit.packages
    if packages and toolkit.missing_components(packages[0]):
        return _missing_components_verdict(toolkit)
    origin = f"from {packages[0].source}" if packages else "with no source to look at"
    explanation = f"{origin}: {_listed(toolkit.components)}"
    return _passed("components", explanation, "component_names.yaml")


def _missing_components_verdict(toolkit: Toolkit) -> Verdict:
    """Explain why each source lacks components, and name the sources that have them all."""
    absences = [
        absence
        for package in toolkit.packages
        for absence in toolkit.missing_components(package).items()
    ]
    reasons = dict.fromkeys(
        f"component `{name}` is not in {row.source or f'CUDA {toolkit.release.release}'}: "
        f"{row.reason}"
        for name, row in absences
    )
    others = replace(toolkit, source=None)
    complete = [row.source for row in others.packages if not others.missing_components(row)]
    if complete:
        reasons[f"`sources` may name {_listed(complete)}"] = None
    ref = _refs((row.ref for _, row in absences), "absences.yaml")
    return _failed("components", "; ".join(reasons), ref)


def cudnn_for_cuda(toolkit: Toolkit, cudnn: str) -> Verdict:
    release, facts = toolkit.release, toolkit.facts
    rows = [row for row in facts.cudnn.support if row.cuda in (release.release, release.major)]
    ranges = " and ".join(_range(row.first, row.last) for row in rows) or "of no version"
    explanation = f"CUDA {release.release} is supported by cuDNN {ranges}; the cell has {cudnn}"
    passed = any(in_range(cudnn, row.first, row.last) for row in rows)
    return Verdict("cudnn", passed, explanation, _refs((row.ref for row in rows), "cudnn.yaml"))


def cudnn_arch(toolkit: Toolkit, cudnn: str) -> Verdict:
    if toolkit.source == IMAGE:
        explanation = "`envmatrix lock` looks for cuDNN in the image that the matrix names"
        return _passed("cudnn-arch", explanation, "matrix.yaml")
    rows = toolkit.cudnn_projects
    published = _listed(f"{_range(row.first, row.last)} for {row.arch}" for row in rows)
    explanation = (
        f"cuDNN packages for CUDA {toolkit.release.release}: {published}; "
        f"the cell has {cudnn} for {toolkit.target.name}"
    )
    ref = _refs((row.ref for row in rows), "cudnn.yaml")
    return Verdict("cudnn-arch", toolkit.cudnn_project(cudnn) is not None, explanation, ref)


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
CUDNN_RULES: Mapping[str, CudnnRule] = {"cudnn": cudnn_for_cuda, "cudnn-arch": cudnn_arch}


def _relevant_packages(toolkit: Toolkit) -> list[Package]:
    """Return the packages for the cell's operating system, and where the matrix names a source that
    has none for it, all of that source."""
    named = toolkit.source if not toolkit.offered_packages else None
    return [
        package
        for package in toolkit.release.packages
        if package.os in (None, toolkit.os.name) or package.source == named
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


def _package_refs(toolkit: Toolkit) -> str:
    return _refs((package.ref for package in _relevant_packages(toolkit)), "sources.yaml")


def _refs(refs: Iterable[str], otherwise: str) -> str:
    return "; ".join(dict.fromkeys(refs)) or otherwise


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
