"""The resolver of each request; those of bases, of what is in them, and of packages that a package
manager in a base resolves are here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from envmatrix.facts.model import Facts
from envmatrix.lock.cuda_in_image import component_versions
from envmatrix.lock.model import (
    Artifact,
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    PackageSet,
    SystemRequest,
)
from envmatrix.lock.resolvers import sources
from envmatrix.lock.resolvers.apt import Run
from envmatrix.lock.resolvers.nvidia import NvidiaApt, NvidiaDnf, NvidiaMirror
from envmatrix.lock.resolvers.pip import Pip
from envmatrix.lock.resolvers.protocol import ResolvedSets, Resolver
from envmatrix.lock.resolvers.redist import Redist
from envmatrix.records import dataclass


@dataclass(frozen=True)
class Services:
    """External look-ups of resolvers; each raises LookupFailed. Their fields are described where
    they are used. `directory` is for the indexes of NVIDIA's repositories."""

    facts: Facts
    directory: Path
    apt: Run
    pip: Run
    wheel: Callable[[Artifact], tuple[str, int]]
    index: sources.Index
    archives: Callable[[str], bytes]
    nvidia: NvidiaMirror
    commits: sources.Commits
    depot: sources.Depot
    require: sources.Require
    measure: sources.Measure
    unpack: sources.Unpack


def resolvers_of(services: Services) -> Mapping[str, Resolver]:
    """Return the resolvers by the name in a request."""
    pip = Pip(services.pip, services.wheel)
    redist = Redist(services.archives)
    repositories = services.facts.nvidia_repositories
    nvidia = repositories, services.nvidia, redist.versions
    return {
        "bootstrap": bootstrapped_base,
        "image": image_base,
        **dict.fromkeys(("apt", "dnf", "zypper"), system_packages),
        "apt-files": apt_files,
        "pip": pip.resolve,
        "redist": redist.resolve,
        "nvidia-apt": NvidiaApt(*nvidia, services.directory, services.apt).resolve,
        "nvidia-dnf": NvidiaDnf(*nvidia, services.directory / "nvidia-keys").resolve,
        "in-image": in_image,
        "wheels": pip.resolve_wheels,
        "git": partial(sources.git, services.commits),
        "perforce": partial(sources.perforce, services.depot),
        "sdist": partial(sources.sdist, services.index, services.require),
        "archive": partial(sources.archive, services.measure, services.unpack),
        "debian-source": partial(sources.debian_source, services.require),
    }


def bootstrapped_base(request: BootstrapRequest, sets: ResolvedSets) -> PackageSet:
    apt = sets.backend.apt_of_host(request.suite, request.arch)
    return PackageSet(request, apt.closure([str(package) for package in request.packages]))


def image_base(request: ImageRequest, _sets: ResolvedSets) -> PackageSet:
    return PackageSet(request, ())


def in_image(request: InImageRequest, sets: ResolvedSets) -> PackageSet:
    sets.state(request.base)  # refuses an image of another architecture
    base = sets.sets[request.base].request
    assert isinstance(base, ImageRequest)  # noqa: S101 -- requests are made by `lock.requests`
    contents = sets.backend.contents_of(base.image, base.arch)
    return PackageSet(request, (), versions=component_versions(request, base, contents))


def system_packages(request: SystemRequest, sets: ResolvedSets) -> PackageSet:
    """Resolve packages together with those of the sets below, which are left out."""
    base, *below = request.below
    home = sets.home(request.suite)
    every = (*(sets.sets[key].request for key in below), request)
    requests = [each for each in every if isinstance(each, SystemRequest)]
    foreign = tuple(sorted({arch for each in requests for arch in each.foreign}))
    archives = tuple(sorted({archive for each in requests for archive in each.archives}))
    manager = sets.backend.manager_in_base(home, request.suite, request.arch, foreign, archives)
    names = [str(package) for each in requests for package in each.packages]
    digests_below = {item.sha256 for key in below for item in sets.sets[key].artifacts}
    artifacts = manager.closure(names, sets.state(base).status)
    return PackageSet(
        request, tuple(item for item in artifacts if item.sha256 not in digests_below)
    )


def apt_files(request: SystemRequest, sets: ResolvedSets) -> PackageSet:
    """Resolve exactly these packages, without dependencies."""
    home = sets.home(request.suite, has_apt=True)
    manager = sets.backend.manager_in_base(home, request.suite, request.arch)
    return PackageSet(request, manager.exactly([str(package) for package in request.packages]))
