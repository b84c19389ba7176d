"""Bases, what is in them, and packages that a package manager in a base resolves."""

from __future__ import annotations

from envmatrix.lock.cuda_in_image import component_versions
from envmatrix.lock.model import (
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    PackageSet,
    SystemRequest,
)
from envmatrix.lock.resolvers.protocol import ResolvedSets


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
    manager = sets.backend.manager_in_base(home, request.suite, request.arch, request.foreign)
    requests = [*(sets.sets[key].request for key in below), request]
    names = [
        str(package)
        for each in requests
        if isinstance(each, SystemRequest)
        for package in each.packages
    ]
    digests_below = {item.sha256 for key in below for item in sets.sets[key].artifacts}
    artifacts = manager.closure(names, sets.state(base).status)
    return PackageSet(
        request, tuple(artifact for artifact in artifacts if artifact.sha256 not in digests_below)
    )


def apt_files(request: SystemRequest, sets: ResolvedSets) -> PackageSet:
    """Resolve exactly these packages, without dependencies."""
    home = sets.home(request.suite, has_apt=True)
    manager = sets.backend.manager_in_base(home, request.suite, request.arch)
    return PackageSet(request, manager.exactly([str(package) for package in request.packages]))
