"""The resolver of each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from envmatrix.facts.model import Facts
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.apt import Run
from envmatrix.lock.resolvers.nvidia import NvidiaMirror
from envmatrix.lock.resolvers.nvidia_apt import NvidiaApt
from envmatrix.lock.resolvers.nvidia_dnf import NvidiaDnf
from envmatrix.lock.resolvers.pip import Pip
from envmatrix.lock.resolvers.protocol import Resolver
from envmatrix.lock.resolvers.redist import Redist
from envmatrix.lock.resolvers.sources import (
    Commits,
    Depot,
    Index,
    Measure,
    Unpack,
    archive,
    debian_source,
    git,
    perforce,
    sdist,
)
from envmatrix.lock.resolvers.system import (
    apt_files,
    bootstrapped_base,
    image_base,
    in_image,
    system_packages,
)


@dataclass(frozen=True)
class Services:
    """External look-ups of resolvers; each raises LookupFailed. Their fields are described where
    they are used. `directory` is for the indexes of NVIDIA's repositories."""

    facts: Facts
    directory: Path
    apt: Run
    pip: Run
    wheel: Callable[[Artifact], tuple[str, int]]
    index: Index
    archives: Callable[[str], bytes]
    nvidia: NvidiaMirror
    commits: Commits
    depot: Depot
    measure: Measure
    unpack: Unpack


def resolvers_of(services: Services) -> Mapping[str, Resolver]:
    """Return the resolvers by the name in a request."""
    pip = Pip(services.pip, services.wheel)
    redist = Redist(services.archives)
    repositories = services.facts.nvidia_repositories
    nvidia = repositories, services.nvidia, redist.versions
    return {
        "bootstrap": bootstrapped_base,
        "image": image_base,
        "apt": system_packages,
        "dnf": system_packages,
        "zypper": system_packages,
        "apt-files": apt_files,
        "pip": pip.resolve,
        "redist": redist.resolve,
        "nvidia-apt": NvidiaApt(*nvidia, services.directory, services.apt).resolve,
        "nvidia-dnf": NvidiaDnf(*nvidia, services.directory / "nvidia-keys").resolve,
        "in-image": in_image,
        "wheels": pip.resolve_wheels,
        "git": partial(git, services.commits),
        "perforce": partial(perforce, services.depot),
        "sdist": partial(sdist, services.index),
        "archive": partial(archive, services.measure, services.unpack),
        "debian-source": debian_source,
    }
