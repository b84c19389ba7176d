"""A cell of the matrix, and the ids, platforms, triplets and order that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

AXES = ("cuda", "cudnn", "os", "arch")

# The occasions on which cells run; each has the cells of the one before it.
TIERS = ("pr", "nightly", "weekly")

# The same architecture under the names of everyone who has one for it.
_DOCKER_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le"}
_CUDA_TARGET = {"x86_64": "x86_64-linux", "aarch64": "sbsa-linux", "ppc64le": "ppc64le-linux"}
_MACHINE = {"ppc64le": "powerpc64le"}

ARCHES = tuple(_DOCKER_ARCH)

_CELL_ID = re.compile(
    r"cuda(?P<cuda>\d+\.\d+(?:\.\d+)?)"
    r"(?:-cudnn(?P<cudnn>\d+\.\d+(?:\.\d+){0,2}))?"
    r"-(?P<os>[a-z][a-z0-9.]*)-(?P<arch>[a-z][a-z0-9_]*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One combination. `cuda` and `cudnn` are versions as the matrix writes them."""

    cuda: str
    cudnn: str | None
    os: str
    arch: str

    @property
    def environment(self) -> str:
        """The image this cell builds in, shared by all its architectures."""
        return "-".join(
            [f"cuda{self.cuda}", *([f"cudnn{self.cudnn}"] if self.cudnn else []), self.os]
        )

    @property
    def id(self) -> str:
        return f"{self.environment}-{self.arch}"

    def __str__(self) -> str:
        return self.id


def parse_cell(cell_id: str) -> Cell | None:
    """The cell that a well-formed id names, whether or not any matrix has it."""
    match = _CELL_ID.fullmatch(cell_id)
    return Cell(**match.groupdict()) if match else None


@lru_cache(maxsize=4096)
def version_key(version: str) -> tuple[int, ...]:
    """Sorts `9.8` before `9.10`; an absent version (`""`) before all."""
    return tuple(int(part) for part in version.split(".") if part)


def sort_key(cell: Cell) -> tuple[tuple[int, ...], tuple[int, ...], str, str]:
    return version_key(cell.cuda), version_key(cell.cudnn or ""), cell.os, cell.arch


def docker_arch(arch: str) -> str:
    """Docker's and Debian's name of `arch` (`x86_64` is `amd64`)."""
    return _DOCKER_ARCH[arch]


def cuda_target(arch: str) -> str:
    """The directory under CUDA's `targets/` for `arch`."""
    return _CUDA_TARGET[arch]


def triplet(arch: str) -> str:
    return f"{_MACHINE.get(arch, arch)}-linux-gnu"


def package_triplet(arch: str) -> str:
    """The triplet inside Debian package names, which may hold no underscore."""
    return triplet(arch).replace("_", "-")
