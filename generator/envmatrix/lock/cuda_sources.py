"""Sources of CUDA's parts, and the request to each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import ReleaseRequest, RepositoryRequest, Request, SystemRequest


@dataclass(frozen=True, slots=True)
class CudaPart:
    """Packages of a part of CUDA, or of cuDNN. `suite` is of Debian or a repository of NVIDIA's;
    `cross` is the target, if the part is of one and not of a build host."""

    arch: str
    release: str
    packages: tuple[PackageSpec, ...]
    suite: str | None
    cross: str = ""

    @property
    def pinning_release(self) -> str:
        """The release that versions come from; empty if every package has a version."""
        return "" if all(package.version for package in self.packages) else self.release


def _of_debian(part: CudaPart) -> Request:
    return SystemRequest("apt-files", part.arch, str(part.suite), part.packages)


def _of_release(resolver: str) -> Callable[[CudaPart], Request]:
    return lambda part: ReleaseRequest(resolver, part.arch, part.packages, part.pinning_release)


def _of_repository(resolver: str, *, crosses: bool = False) -> Callable[[CudaPart], Request]:
    """Return the function for a repository, which may have packages for cross compiling."""
    return lambda part: RepositoryRequest(
        resolver,
        part.arch,
        str(part.suite),
        part.packages,
        part.pinning_release,
        part.cross if crosses else "",
    )


# What requests the packages of each source; `image` has components instead.
SOURCES: Mapping[str, Callable[[CudaPart], Request]] = {
    "debian": _of_debian,
    "pypi": _of_release("pip"),
    "redist": _of_release("redist"),
    "nvidia-apt": _of_repository("nvidia-apt"),
    "nvidia-dnf": _of_repository("nvidia-dnf"),
    "nvidia-cross": _of_repository("nvidia-apt", crosses=True),
}

# Sources with a repository for each suite, so that sets of several suites are of one release.
OF_SUITES = frozenset({"nvidia-apt", "nvidia-dnf", "nvidia-cross"})
