"""The cross image of a target, and its compiler. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.facts.targets import Target
from envmatrix.records import dataclass

# Program names without a version -> the programs of GCC that Debian installs only with the major
# in their names. Prefixes such as CROSS_COMPILE need names without it.
_PROGRAMS = {
    "c++": "g++",
    "cc": "gcc",
    "cpp": "cpp",
    "g++": "g++",
    "gcc": "gcc",
    "gcc-ar": "gcc-ar",
    "gcc-nm": "gcc-nm",
    "gcc-ranlib": "gcc-ranlib",
    "gcov": "gcov",
}


@dataclass(frozen=True, slots=True)
class Cross:
    """The cross image of `target`: the architecture that it runs on (`host`), the stage with nvcc
    (`tools`), the foreign architectures of its packages, and whether these contain the target's
    Python. `clang` is the major of the compiler, if it is no GCC; `cuda_clang` whether that
    compiles CUDA."""

    target: Target
    gcc: str
    host: str
    tools: str
    foreign: tuple[str, ...] = ()
    has_python: bool = False
    clang: str | None = None
    cuda_clang: bool = False

    @property
    def name(self) -> str:
        return f"cross{self.target.suffix}"

    @property
    def toolchain(self) -> str:
        """The name of the configuration of build systems for its compilers."""
        compiler = f"clang{self.clang}" if self.clang else f"gcc{self.gcc}"
        return f"{self.target.name}-{compiler}{'-cudaclang' if self.cuda_clang else ''}"

    @property
    def runtime(self) -> str | None:
        """The image of its own that its programs run in, if it has one."""
        target = self.target
        return f"runtime{target.suffix}" if target.suffix and target.machine else None

    @property
    def has_packages(self) -> bool:
        return self.target.packages.get("cross") != ()

    @property
    def c(self) -> str:
        if self.clang:
            return f"{self.target.prefix}clang-{self.clang}"
        return self.target.c.format(gcc=self.gcc, triplet=self.target.triplet)

    @property
    def cxx(self) -> str:
        if self.clang:
            return f"{self.target.prefix}clang++-{self.clang}"
        return self.target.cxx.format(gcc=self.gcc, triplet=self.target.triplet)

    @property
    def links(self) -> Mapping[str, str]:
        """The links to programs of the compiler: name without a version -> program."""
        prefix = self.target.prefix
        if not self.target.triplet:
            return {}
        if self.clang:
            # Clang compiles for the target that the name it is called by begins with.
            names = {"cc": "clang", "c++": "clang++"}
            names |= {
                name: name.removesuffix(f"-{self.clang}")
                for name in (f"clang-{self.clang}", f"clang++-{self.clang}")
            }
            return {f"{prefix}{name}": f"{program}-{self.clang}" for name, program in names.items()}
        return {
            f"{prefix}{name}": f"{prefix}{program}-{self.gcc}"
            for name, program in _PROGRAMS.items()
        }
