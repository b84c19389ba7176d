"""Wheels, resolved by pip for any platform."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import Artifact, PackageSet, ReleaseRequest, WheelsRequest, is_in_origin
from envmatrix.machine.configuration import PYPI
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
        """Resolve requirements and their dependencies for the Python of an operating system."""
        os = sets.facts.of_suite(request.suite)
        if os.python is None:
            raise LookupFailed(
                f"it is not known which Python `{os.name}` has, so nothing `requires` wheels there",
                hint="say in `cells` which cells the library is for",
            )
        options = _python_options(request.arch, os.python, os.glibc)
        wheels = self._wheels(request.requirements, options)
        return PackageSet(request, tuple(sorted(wheels)))

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

    def _wheels(self, requirements: Sequence[str], options: Sequence[str]) -> Iterable[Artifact]:
        for row in self._report(requirements, options):
            metadata, archive = row["metadata"], row["download_info"]["archive_info"]
            sha256 = archive["hashes"]["sha256"]
            artifact = Artifact(PYPI, "", metadata["name"], metadata["version"], 0, sha256)
            url, size = self.look_up(artifact)
            yield replace(artifact, path=path_in_index(url), size=size)

    def _report(self, requirements: Sequence[str], options: Sequence[str]) -> list[dict[str, Any]]:
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed",
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
    if match := _NO_DISTRIBUTION.search(output):
        return Absent(
            f"the index has no `{match[1]}`, or no wheel of it for this Python and architecture",
            details=error.details,
            hint="is its name right, and its version?",
        )
    return error


def _python_options(arch: str, python: str, glibc: str) -> Sequence[str]:
    """Return the options for all wheels that a CPython on a glibc supports, newest tag first."""
    minors = range(int(glibc.split(".")[1]), 4, -1)
    tags = (*(f"manylinux_2_{minor}" for minor in minors), *_OLDER_TAGS)
    return ("--python-version", python, "--implementation", "cp", *_platforms(tags, arch))


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
