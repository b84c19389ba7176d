"""Compilation targets: the values of the axis `arch`.

Everything that has to do with a cell reads these rows, so they are in Python, which starts with
them sooner than with a file of `data/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from envmatrix.records import dataclass

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
    """An architecture by its names in other systems: `docker`, `debian` and `rpm` packages,
    `wheel`s, `nvidia`'s repositories, `qemu`, and `uname -m`. `elf` is the byte order (a character
    of `struct`) and the machine number; `coff` the machine number; `runner` that of GitHub."""

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
    """What code is compiled for.

    Attributes:
        crossed: `no`: compiled on its own machine alone; `also`: on x86_64 as well; `only`: nowhere
            else.
        system: CMake's CMAKE_SYSTEM_NAME.
        processor: CMake's CMAKE_SYSTEM_PROCESSOR.
        binary: what a file compiled for it is.
        machine: Docker's architecture that runs it; without one, only its own hardware does.
        cuda: its directory under CUDA's `targets/`. Without one, only libraries that need no CUDA
            are compiled for it, and `host_only` says why.
        redist: the platform in the manifests of NVIDIA's archives.
        architecture: its names, where it is a machine's own.
        last: the last CUDA release for it.
        triplet: Debian's.
        prefix: of the programs of its compiler and binutils.
        c, cxx: the cross compilers, where `cmake` does not name them; {gcc} is the cell's major.
        packages: what its images have on top of others, by flavour, where that is not what envs/
            says.
        emulator: what runs its programs in the runtime image.
        sdk: the licensed SDK that is mounted at /opt/<sdk> while compiling; it is in no image.
        cmake: further lines of the toolchain file.
        environment: further variables of its images, by flavour.
    """

    name: str
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

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def is_native(self) -> bool:
        """Return whether programs for it can be compiled on its own machine."""
        return self.crossed != "only"

    @property
    def brings_compiler(self) -> bool:
        """Return whether its compiler is not one of the operating system."""
        return bool(self.packages)

    @property
    def key(self) -> str:
        """The key of its stages: the machine, or the target where targets share a machine."""
        return self.machine if self.is_native and self.machine else self.name

    @property
    def has_packages(self) -> bool:
        """Return whether the archives of the operating system have packages for it."""
        return self.machine is not None and "cross" not in self.packages

    @property
    def cross(self) -> str:
        """The name in NVIDIA's packages for cross compiling: `cuda-cudart-cross-sbsa-12-4`."""
        return (self.cuda or "").removesuffix("-linux")

    @property
    def suffix(self) -> str:
        """The suffix of its images where they differ from those of servers: `cross-jetson`."""
        return "" if self.is_native else f"-{self.name}"


_DRIVE = "/opt/drive/drive-linux/filesystem/targetfs"

_ROWS = (
    Target(
        name="x86_64",
        crossed="no",
        system="Linux",
        processor="x86_64",
        binary="x86_64",
        ref="targets/x86_64-linux in every CUDA package for x86_64",
        machine="amd64",
        cuda="x86_64-linux",
        redist="linux-x86_64",
        architecture=Architecture(
            docker="amd64",
            debian="amd64",
            rpm="x86_64",
            wheel="x86_64",
            nvidia="x86_64",
            qemu="x86_64",
            uname="x86_64",
            elf=("<", 62),
            coff=0x8664,
            runner="ubuntu-latest",
        ),
        triplet="x86_64-linux-gnu",
    ),
    Target(
        name="aarch64",
        crossed="also",
        system="Linux",
        processor="aarch64",
        binary="aarch64",
        ref="linux-sbsa in redistrib_*.json; targets/sbsa-linux in NVIDIA's packages for servers",
        machine="arm64",
        cuda="sbsa-linux",
        redist="linux-sbsa",
        architecture=Architecture(
            docker="arm64",
            debian="arm64",
            rpm="aarch64",
            wheel="aarch64",
            nvidia="sbsa",  # `arm64` in NVIDIA's repositories means Jetson
            qemu="aarch64",
            uname="aarch64",
            elf=("<", 183),
            coff=0xAA64,
            runner="ubuntu-24.04-arm",
        ),
        triplet="aarch64-linux-gnu",
        prefix="aarch64-linux-gnu-",
        c="{triplet}-gcc-{gcc}",
        cxx="{triplet}-g++-{gcc}",
    ),
    Target(
        name="ppc64le",
        crossed="no",
        system="Linux",
        processor="ppc64le",
        binary="ppc64le",
        ref=(
            "linux-ppc64le in redistrib_*.json until 12.4; targets/ppc64le-linux in "
            "NVIDIA's packages"
        ),
        machine="ppc64le",
        cuda="ppc64le-linux",
        redist="linux-ppc64le",
        architecture=Architecture(
            docker="ppc64le",
            debian="ppc64el",
            rpm="ppc64le",
            wheel="ppc64le",
            nvidia="ppc64le",
            qemu="ppc64le",
            uname="ppc64le",
            elf=("<", 21),
        ),
        triplet="powerpc64le-linux-gnu",
    ),
    Target(
        name="jetson",
        crossed="only",
        system="Linux",
        processor="aarch64",
        binary="aarch64",
        ref=(
            "linux-aarch64 in redistrib_11.8.0.json to 12.5.1; "
            "github.com/NVIDIA/cuda-samples, "
            "cmake/toolchains/toolchain-aarch64-linux.cmake: targets/aarch64-linux"
        ),
        machine="arm64",
        cuda="aarch64-linux",
        redist="linux-aarch64",
        last=Last(
            release="12.9",
            reason=(
                "CUDA 13 has one toolkit for Arm: `aarch64` is what Jetson Thor takes, and "
                "Jetson Orin stays with CUDA 12 so far"
            ),
            ref=(
                "developer.nvidia.com/blog/whats-new-in-cuda-toolkit-13-0-for-jetson-thor-"
                "unified-arm-ecosystem-and-more"
            ),
        ),
        triplet="aarch64-linux-gnu",
        prefix="aarch64-linux-gnu-",
        c="{triplet}-gcc-{gcc}",
        cxx="{triplet}-g++-{gcc}",
    ),
    Target(
        name="windows",
        crossed="only",
        system="Windows",
        processor="AMD64",
        binary="x86_64-windows",
        ref=(
            "docs.nvidia.com/cuda/cuda-compiler-driver-nvcc: the host compiler on Windows "
            "is cl.exe; package lists of Debian 12: g++-mingw-w64-x86-64-posix, wine64"
        ),
        machine="amd64",
        host_only="nvcc makes code for Windows on Windows only, with MSVC as its host compiler",
        prefix="x86_64-w64-mingw32-",
        c="x86_64-w64-mingw32-gcc-posix",
        cxx="x86_64-w64-mingw32-g++-posix",
        packages={"cross": ("g++-mingw-w64-x86-64-posix",), "runtime": ("wine64",)},
        emulator="/usr/lib/wine/wine64",
        cmake=(
            "set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)",
            "set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32 /prefix)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)",
            # The compiler's own libraries are in no Windows, and not in the runtime image.
            "set(CMAKE_EXE_LINKER_FLAGS_INIT -static)",
            "set(CMAKE_SHARED_LINKER_FLAGS_INIT -static)",
            "set(CMAKE_MODULE_LINKER_FLAGS_INIT -static)",
        ),
        environment={
            "cross": {"PKG_CONFIG_LIBDIR": "/usr/x86_64-w64-mingw32/lib/pkgconfig"},
            "runtime": {
                "WINEDEBUG": "-all",
                "WINEPREFIX": "/build/.wine",
                "WINESERVER": "/usr/lib/wine/wineserver64",
            },
        },
    ),
    Target(
        name="qnx",
        crossed="only",
        system="QNX",
        processor="aarch64le",
        binary="aarch64",
        ref=(
            "cmake.org, cmake-toolchains(7): QCC with CMAKE_<LANG>_COMPILER_TARGET; third "
            "party: github.com/Tencent/ncnn, toolchains/qnx710.toolchain.cmake: the "
            "directories of SDP 7; docs.nvidia.com/drive/driveworks-4.0, Cross-Compiling "
            "for NVIDIA DRIVE OS QNX: its CUDA"
        ),
        host_only="CUDA for QNX comes with NVIDIA's DRIVE OS SDK only",
        c="/opt/qnx/host/linux/x86_64/usr/bin/qcc",
        cxx="/opt/qnx/host/linux/x86_64/usr/bin/q++",
        packages={"cross": ()},
        sdk="qnx",
        cmake=(
            "set(CMAKE_C_COMPILER_TARGET gcc_ntoaarch64le)",
            "set(CMAKE_CXX_COMPILER_TARGET gcc_ntoaarch64le)",
            "set(CMAKE_FIND_ROOT_PATH /opt/qnx/target/qnx7/aarch64le /opt/qnx/target/qnx7 /prefix)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)",
        ),
        environment={
            "cross": {
                "PKG_CONFIG_LIBDIR": "/opt/qnx/target/qnx7/aarch64le/usr/lib/pkgconfig",
                "QNX_HOST": "/opt/qnx/host/linux/x86_64",
                "QNX_TARGET": "/opt/qnx/target/qnx7",
            }
        },
    ),
    Target(
        name="drive",
        crossed="only",
        system="Linux",
        processor="aarch64",
        binary="aarch64",
        ref=(
            "developer.nvidia.com/docs/drive/drive-os/7.0.3, NVIDIA Supported Cross "
            "Toolchains; docs.nvidia.com/drive/driveworks-4.0, Cross-Compiling for NVIDIA "
            "DRIVE OS Linux: its CUDA; third party: scripts that name "
            "/drive/drive-linux/filesystem/targetfs"
        ),
        host_only="CUDA for DRIVE OS comes with NVIDIA's DRIVE OS SDK only",
        packages={"cross": ()},
        sdk="drive",
        cmake=(
            # The name of the toolchain has its version in it.
            "file(GLOB toolchain /opt/drive/toolchains/aarch64--glibc--*/bin)",
            "set(CMAKE_C_COMPILER ${toolchain}/aarch64-buildroot-linux-gnu-gcc)",
            "set(CMAKE_CXX_COMPILER ${toolchain}/aarch64-buildroot-linux-gnu-g++)",
            f"set(CMAKE_FIND_ROOT_PATH {_DRIVE} /prefix)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)",
            "set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)",
        ),
        environment={
            "cross": {
                "PKG_CONFIG_LIBDIR": f"{_DRIVE}/usr/lib/aarch64-linux-gnu/pkgconfig",
                "PKG_CONFIG_SYSROOT_DIR": _DRIVE,
            }
        },
    ),
)

TARGETS: Mapping[str, Target] = {target.name: target for target in _ROWS}

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
