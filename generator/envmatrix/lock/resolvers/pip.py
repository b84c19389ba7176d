"""Wheels, resolved by pip for any platform."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import Artifact, PackageSet, ReleaseRequest, WheelsRequest, is_in_origin
from envmatrix.machine.configuration import PYPI
from envmatrix.matrix.cells import gil_release
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.lock.resolvers.apt import Run
    from envmatrix.lock.resolvers.protocol import ResolvedSets

# The tags that NVIDIA's wheels carry; pip matches each by name only.
_OLDER_TAGS = ("manylinux2014", "manylinux2010", "manylinux1")
_TAGS = (*_OLDER_TAGS, *(f"manylinux_2_{minor}" for minor in (12, 17, 18, 25, 27, 28)))

# The meta package whose extras pin the components of one CUDA release.
_META = "cuda-toolkit"

# These carry the compiler's own release number; from different releases they write PTX that
# the others refuse (`Unsupported .version`).
_COMPILER = ("nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt")


_NO_CONNECTION = re.compile(r"Retrying \(Retry\(|Failed to establish a new connection|Max retries")
_NO_DISTRIBUTION = re.compile(r"No matching distribution found for (\S+)")
# What asks for a requirement that no wheel meets, and the versions that have wheels.
_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (?P<requirement>[^(\n]+?)"
    r"(?: \(from (?P<parent>[A-Za-z0-9._-]+)[^)\n]*\))? \(from versions: (?P<versions>[^)\n]*)\)"
)
# Requirements that exclude each other: `a==1, b==2 and c`.
_CONFLICT = re.compile(r"Cannot install (?P<every>\S.*) because these package versions have conf")
# pip, with the values of markers that another Python on another machine has: its options select
# wheels, but conditions of requirements follow the Python that runs it.
_PIP_ELSEWHERE = (
    "import json, sys; from pip._vendor.packaging import markers; "
    "own, values = markers.default_environment, json.loads(sys.argv.pop(1)); "
    "markers.default_environment = lambda: {**own(), **values}; "
    "from pip._internal.cli.main import main; sys.exit(main())"
)


class UnknownWheels(Absent):
    """No wheel meets a `requirement` of a library, or one of a wheel that the library
    requires by it; `others` are the same errors of others of its requirements."""

    others: tuple[UnknownWheels, ...] = ()

    def __init__(self, requirement: str, message: str, hint: str, details: Sequence[str]) -> None:
        super().__init__(message, hint=hint, details=details)
        self.requirement = requirement


@dataclass(frozen=True)
class Pip:
    """`look_up` returns a file's URL in the index and its size in bytes: pip reports no size, and
    may have used a cache or a local directory. `pins` are those of releases by architecture."""

    run: Run
    look_up: Callable[[Artifact], tuple[str, int]]
    pins: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    def resolve(self, request: ReleaseRequest, _sets: object) -> PackageSet:
        """Resolve packages; the meta package of the CUDA release pins those without a version."""
        release, options = request.release, ("--no-deps", *_platforms(_TAGS, request.arch))
        pins = self._pins_of(release, request.arch, options) if release else {}
        requirements = [
            f"{name}=={version}" if version else f"{name}{pins.get(name, f'=={release}.*')}"
            for name, version in ((package.name, package.version) for package in request.packages)
        ]
        artifacts = tuple(sorted(self._wheels(requirements, options)))
        _check_one_compiler(artifacts)
        return PackageSet(request, artifacts)

    def resolve_wheels(self, request: WheelsRequest, sets: ResolvedSets) -> PackageSet:
        """Resolve requirements and their dependencies for the Python of an operating system, or
        for another one."""
        os = sets.facts.of_suite(request.suite)
        python = request.python or os.python
        if python is None:
            raise LookupFailed(
                f"it is not known which Python `{os.name}` has, so nothing `requires` wheels there",
                hint="say in `cells` which cells the library is for",
            )
        options = _python_options(request.arch, python, os.glibc)
        markers = _markers(request.arch, gil_release(python))
        owner = "in" if request.python else "of"
        place = f"Python {python} {owner} `{os.name}` on {request.arch}"

        def resolve(requirements: Sequence[str]) -> Sequence[Artifact]:
            return sorted(self._wheels(requirements, options, markers, request.omitted))

        try:
            return PackageSet(request, tuple(resolve(request.requirements)))
        except Absent as error:
            if failures := [*_missing(error, request.requirements, resolve, place)]:
                failures[0].others = tuple(failures[1:])
                raise failures[0] from error
            raise

    def _pins_of(self, release: str, arch: str, options: Sequence[str]) -> Mapping[str, str]:
        """Return the pins of a release; ask pip once, as each of its sets needs them."""
        if (release, arch) not in self.pins:
            self.pins[release, arch] = self._read_pins(release, options)
        return self.pins[release, arch]

    def _read_pins(self, release: str, options: Sequence[str]) -> Mapping[str, str]:
        from packaging.requirements import Requirement

        rows = self._report([f"{_META}=={release}.*"], options)
        parsed = (Requirement(text) for row in rows for text in row["metadata"]["requires_dist"])
        return {item.name: str(item.specifier) for item in parsed}

    def _wheels(
        self,
        requirements: Sequence[str],
        options: Sequence[str],
        markers: Mapping[str, str] | None = None,
        omitted: Sequence[str] = (),
    ) -> Iterable[Artifact]:
        for row in self._report(requirements, options, markers):
            metadata, archive = row["metadata"], row["download_info"]["archive_info"]
            if any(fnmatchcase(canonicalize_name(metadata["name"]), glob) for glob in omitted):
                continue
            sha256 = archive["hashes"]["sha256"]
            artifact = Artifact(PYPI, "", metadata["name"], metadata["version"], 0, sha256)
            url, size = self.look_up(artifact)
            yield replace(artifact, path=path_in_index(url), size=size)

    def _report(
        self,
        requirements: Sequence[str],
        options: Sequence[str],
        markers: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        pip = ["-c", _PIP_ELSEWHERE, json.dumps(markers)] if markers else ["-m", "pip"]
        command = [
            sys.executable, *pip, "install", "--dry-run", "--ignore-installed",
            "--quiet", "--only-binary", ":all:", "--target", "/nonexistent",
            # Reads a wheel's metadata by range: cuDNN's is 3 kB of 650 MB.
            "--use-feature=fast-deps", *options, "--report", "-", *sorted(requirements),
        ]  # fmt: skip
        try:
            printed = self.run(command)
        except LookupFailed as error:
            raise _explain(error) from error
        rows: list[dict[str, Any]] = json.loads(printed)["install"]
        return rows


def _missing(
    error: Absent,
    requirements: Sequence[str],
    resolve: Callable[[Sequence[str]], object],
    place: str,
) -> Iterator[UnknownWheels]:
    """Yield the errors of all requirements that no wheel meets. pip ends at the first one, so the
    others are resolved without it."""
    left = [*requirements]
    while failure := _without_wheel(error, left, place):
        yield failure
        left = [each for each in left if each != failure.requirement]
        if not left or failure.requirement not in requirements:
            return
        try:
            resolve(left)
        except Absent as next_error:
            error = next_error
        except LookupFailed:
            return
        else:
            return


def _without_wheel(error: Absent, requirements: Sequence[str], place: str) -> UnknownWheels | None:
    """Return the error of a requirement that no wheel meets, if pip tells one."""
    from packaging.requirements import Requirement

    output = "\n".join(error.details)
    own = {canonicalize_name(Requirement(each).name): each for each in reversed(requirements)}
    if conflict := _CONFLICT.search(output):
        name = re.match(r"[A-Za-z0-9._-]+", conflict["every"])
        declared = own.get(canonicalize_name(name[0]), "") if name else ""
        message = f"no wheels meet {conflict['every']} together for {place}"
        hint = "leave the version of one of them open: `pip` then takes one that fits"
        return UnknownWheels(declared, message, hint, error.details)
    match = _NO_VERSION.search(output)
    if match is None:
        return None
    text, parent = match["requirement"].strip(), match["parent"]
    project = canonicalize_name(Requirement(text).name)
    declared = own.get(project) or own.get(canonicalize_name(parent or "")) or text
    of_parent = f", which `{parent}` requires," if parent else ""
    nearest = _nearest(text, match["versions"])
    if nearest:
        hint = f"the nearest version of `{project}` with one is {nearest}"
    else:
        hint = "no version has one; is its name right? envmatrix takes no source distributions"
    message = f"there is no wheel of `{text}`{of_parent} for {place}"
    return UnknownWheels(declared, message, hint, error.details)


def _nearest(requirement: str, versions: str) -> str | None:
    """Return the version nearest to those that a requirement allows: the next newer one, else the
    newest."""
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion, Version

    available = []
    for text in versions.split(","):
        with suppress(InvalidVersion):
            available.append(Version(text.strip()))
    available = [each for each in available if not each.is_prerelease] or available
    if not available:
        return None
    bounds = []
    for specifier in Requirement(requirement).specifier:
        with suppress(InvalidVersion):
            bounds.append(Version(specifier.version.removesuffix(".*")))
    newer = [each for each in available if bounds and each > max(bounds)]
    return str(min(newer) if newer else max(available))


def _markers(arch: str, python: str) -> Mapping[str, str]:
    """Return the values of markers of a CPython on Linux."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": MACHINES[arch].uname,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _explain(error: LookupFailed) -> LookupFailed:
    """Return a specific error: pip prints the same last line for a missing project and for an
    unreachable index."""
    output = "\n".join(error.details)
    if _NO_CONNECTION.search(output):
        return LookupFailed(
            "pip reaches no index",
            details=error.details,
            hint="is the network there, and the proxy right? see `pip config list`, $https_proxy",
        )
    if conflict := _CONFLICT.search(output):
        message = f"no wheels meet {conflict['every']} together"
        return Absent(message, details=error.details)
    if match := _NO_DISTRIBUTION.search(output):
        return Absent(
            f"the index has no `{match[1]}`, or no wheel of it for this Python and architecture",
            details=error.details,
            hint="is its name right, and its version?",
        )
    return error


def _python_options(arch: str, python: str, glibc: str) -> Sequence[str]:
    """Return the options for all wheels that a CPython on a glibc supports, newest tag first. One
    without the GIL has an ABI of its own, and takes no `abi3`."""
    release = gil_release(python)
    abis = (f"cp{python.replace('.', '')}", "none") if python != release else ()
    minors = range(int(glibc.split(".")[1]), 4, -1)
    tags = (*(f"manylinux_2_{minor}" for minor in minors), *_OLDER_TAGS)
    own = [word for abi in abis for word in ("--abi", abi)]
    return ("--python-version", release, "--implementation", "cp", *own, *_platforms(tags, arch))


def _platforms(tags: Sequence[str], arch: str) -> Sequence[str]:
    machine = MACHINES[arch].wheel
    return [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]


def path_in_index(url: str) -> str:
    """Return the part of a file's URL that is the same on every mirror of the index."""
    path = unquote(urlsplit(url).path)
    start = path.find("packages/")
    if start < 0 or not is_in_origin(path[start:]):
        raise LookupFailed(f"`{url}` does not look like a file of a package index")
    return path[start:]


def _check_one_compiler(artifacts: Sequence[Artifact]) -> None:
    versions = {item.name: item.version for item in artifacts if item.name in _COMPILER}
    if len(set(versions.values())) > 1:
        listing = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        raise LookupFailed(f"the compiler's packages are of different CUDA releases: {listing}")
