"""Compilation targets: the values of the axis `arch`, from `facts/data/targets.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from envmatrix.facts.loading import read_facts
from envmatrix.schema.constraints import Mark

# The architecture whose machines cross-compile for the others.
CROSS_HOST = "x86_64"


@dataclass(frozen=True, slots=True)
class Last:
    """The last CUDA release for a target, and why."""

    release: str
    reason: str
    ref: str


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture by its names in other systems. `elf` is the byte order (a character of
    `struct`) and the machine number; `coff` the machine number."""

    docker: str
    debian: str
    rpm: str
    wheel: str
    nvidia: str
    qemu: str
    uname: str
    elf: tuple[str, int]
    coff: int | None = None
    runner: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One row of targets.yaml, whose head explains the fields."""

    name: Annotated[str, Mark.KEY]
    crossed: Literal["no", "also", "only"]
    system: str
    processor: str
    binary: str
    ref: str
    machine: str | None = None
    cuda: str | None = None
    host_only: str | None = None
    redist: str | None = None
    architecture: Architecture | None = None
    last: Last | None = None
    triplet: str = ""
    prefix: str = ""
    c: str = ""
    cxx: str = ""
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emulator: str | None = None
    sdk: str | None = None
    cmake: tuple[str, ...] = ()
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def is_native(self) -> bool:
        """Return whether programs for it can be compiled on its own machine."""
        return self.crossed != "only"

    @property
    def key(self) -> str:
        """The key of its stages: the machine, or the target where targets share a machine."""
        return self.machine if self.is_native and self.machine else self.name

    @property
    def cross(self) -> str:
        """The name in NVIDIA's packages for cross compiling: `cuda-cudart-cross-sbsa-12-4`."""
        return (self.cuda or "").removesuffix("-linux")

    @property
    def suffix(self) -> str:
        """The suffix of its images where they differ from those of servers: `cross-jetson`."""
        return "" if self.is_native else f"-{self.name}"


TARGETS: Mapping[str, Target] = read_facts("targets.yaml", Mapping[str, Target])

# The architectures that have machines of their own, by Docker's names.
MACHINES: Mapping[str, Architecture] = {
    target.architecture.docker: target.architecture
    for target in TARGETS.values()
    if target.architecture
}


def machine_called(**name: object) -> Architecture | None:
    """Return the architecture with a name, `machine_called(uname="aarch64")`; None if unknown."""
    ((system, value),) = name.items()
    return next((each for each in MACHINES.values() if getattr(each, system) == value), None)


def docker_arch(arch: str) -> str:
    """Return Docker's and Debian's name of the machine that runs `arch` (`amd64` for `x86_64`)."""
    machine = TARGETS[arch].machine
    assert machine is not None  # noqa: S101 -- called for architectures with containers only
    return machine


def package_triplet(arch: str) -> str:
    """Return the triplet inside Debian package names, which may hold no underscore."""
    return TARGETS[arch].triplet.replace("_", "-")
