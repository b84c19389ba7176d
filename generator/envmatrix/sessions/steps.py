"""The container of each step of a session, decided. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.engine.containers import ContainerSpec, Mount
from envmatrix.matrix.model import Library, PlannedCell
from envmatrix.matrix.targets import TARGETS, Target
from envmatrix.plan.environments import Image

if TYPE_CHECKING:
    from docker.types import DeviceRequest

SOURCE = "/src"
BUILD = "/build"
CCACHE = "/ccache"

JUNIT = "junit.xml"

_NINJA = re.compile(r"\[(\d+)/(\d+)\]")


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a library in a cell lives on this machine, and the images it is built and run in;
    `names` is what the engine calls those.
    `sdk` is the directory of the licensed SDK that its target needs, if it needs one."""

    cell: PlannedCell
    library: Library
    root: Path
    ccache: Path
    compiler: Image
    runtime: Image | None
    names: Mapping[Image, str]
    host_arch: str
    has_ccache: bool = True
    sdk: Path | None = None

    @property
    def target(self) -> Target:
        return TARGETS[self.cell.cell.arch]

    @property
    def directory(self) -> Path:
        return self.root / "build" / self.cell.id / self.library.name

    @property
    def build(self) -> Path:
        """The build directory, one for each way to compile."""
        native = self.compiler.arch == self.host_arch
        return self.directory / (self.compiler.flavour if native else "emulated")

    @property
    def is_emulated(self) -> bool:
        """Whether what was compiled runs here under emulation only, if at all."""
        native = self.runtime is not None and self.runtime.arch == self.host_arch
        return not native or self.target.emulator is not None

    def log(self, step: str) -> Path:
        return self.directory / f"{step}.log"


def architectures(cell: PlannedCell) -> str:
    """CMake's CUDAARCHS: the matrix's sm list, as far as this CUDA knows it."""
    return ";".join(cell.toolchain.sm)


def ninja_progress(line: str) -> tuple[int, int]:
    """Steps done and in all, as ninja prints them: `[3/20] ...`."""
    match = _NINJA.match(line)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def configure(place: Workplace) -> ContainerSpec:
    return _compiler(place, ["cmake", "-S", SOURCE, "-B", BUILD, "--preset", place.library.preset])


def compile_all(place: Workplace, jobs: int) -> ContainerSpec:
    return _compiler(place, ["cmake", "--build", BUILD, "--parallel", str(jobs)])


def test(
    place: Workplace, devices: Sequence[DeviceRequest], arguments: Sequence[str]
) -> ContainerSpec:
    """CTest in the runtime image; a test that returns its skip code is skipped, not passed."""
    command = [
        "ctest",
        "--test-dir",
        BUILD,
        "--output-on-failure",
        "--output-junit",
        f"{BUILD}/{JUNIT}",
    ]
    return replace(_runtime(place, [*command, *arguments]), devices=devices)


def measure(
    place: Workplace, devices: Sequence[DeviceRequest], arguments: Sequence[str]
) -> ContainerSpec:
    spec = _runtime(place, [f"{BUILD}/{place.library.benchmark}", *arguments])
    return replace(spec, devices=devices, keeps_stdout=True)


def shell(place: Workplace) -> ContainerSpec:
    return _compiler(place, ["bash"])


def _compiler(place: Workplace, command: Sequence[str]) -> ContainerSpec:
    sdk = [Mount(place.sdk, f"/opt/{place.target.sdk}", read_only=True)] if place.sdk else []
    languages = ("C", "CXX", "CUDA") if place.has_ccache else ()
    launchers = {f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in languages}
    return ContainerSpec(
        image=place.names[place.compiler],
        platform=place.compiler.platform,
        command=command,
        mounts=[
            Mount(place.root / place.library.path, SOURCE, read_only=True),
            Mount(place.build, BUILD),
            Mount(place.ccache, CCACHE),
            *sdk,
        ],
        environment={
            "CCACHE_DIR": CCACHE,
            "CUDAARCHS": architectures(place.cell),
            **launchers,
        },
        directory=BUILD,
    )


def _runtime(place: Workplace, command: Sequence[str]) -> ContainerSpec:
    assert place.runtime is not None  # noqa: S101 -- asked of what runs in a container alone
    return ContainerSpec(
        image=place.names[place.runtime],
        platform=place.runtime.platform,
        command=command,
        mounts=[
            Mount(place.root / place.library.path, SOURCE, read_only=True),
            Mount(place.build, BUILD),
        ],
        directory=BUILD,
    )
