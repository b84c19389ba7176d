"""A cell of the matrix, and the ids, platforms and triplets that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

AXES = ("cuda", "cudnn", "os", "arch")

# The same architecture under the names of everyone who has one for it.
_DOCKER_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_CUDA_TARGET = {"x86_64": "x86_64-linux", "aarch64": "sbsa-linux"}

ARCHES = tuple(_DOCKER_ARCH)


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


def docker_arch(arch: str) -> str:
    """Docker's and Debian's name of `arch` (`x86_64` is `amd64`)."""
    return _DOCKER_ARCH[arch]


def cuda_target(arch: str) -> str:
    """The directory under CUDA's `targets/` for `arch`."""
    return _CUDA_TARGET[arch]


def triplet(arch: str) -> str:
    return f"{arch}-linux-gnu"
