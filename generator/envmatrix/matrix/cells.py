"""Cells of the matrix and candidates for them: their ids, order and toolchains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Literal

from envmatrix.errors import Position
from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import version_key
from envmatrix.records import dataclass

AXES = ("cuda", "cudnn", "os", "compiler", "cuda_compiler", "python", "arch")

# Axes that a matrix can leave out, with the values that files have for None of a candidate.
OMITTED: Mapping[str, str] = {
    "cudnn": "none",
    "compiler": "default",
    "cuda_compiler": "nvcc",
    "python": "default",
}

# The axes of tools, which an environment has several values of.
TOOL_AXES = ("compiler", "cuda_compiler", "python")

ARCHES = tuple(TARGETS)

_CELL_ID = re.compile(
    r"cuda(?P<cuda>\d{1,9}(?:\.\d{1,9}){1,2})"
    r"(?:-cudnn(?P<cudnn>\d{1,9}(?:\.\d{1,9}){1,3}))?"
    r"-(?P<os>[a-z][a-z0-9.]*)"
    r"(?:-(?P<compiler>(?:gcc|clang)(?:[1-9]\d?|newest|oldest)))?"
    r"(?:-cuda(?P<cuda_compiler>clang))?"
    r"(?:-py(?P<python>3\.[1-9]?\dt?))?"
    r"-(?!gcc|clang|cuda)(?P<arch>[a-z][a-z0-9_]*)",
    re.ASCII,
)


CompilerKind = Literal["gcc", "clang"]


@dataclass(frozen=True, slots=True, order=True)
class HostCompiler:
    """A compiler of C and C++ of an operating system, by its major version."""

    kind: CompilerKind
    major: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.major}"

    @property
    def word(self) -> str:
        """Return its name in ids: `gcc12`."""
        return f"{self.kind}{self.major}"

    @property
    def title(self) -> str:
        return f"{TITLES[self.kind]} {self.major}"


TITLES: Mapping[CompilerKind, str] = {"gcc": "GCC", "clang": "Clang"}


@lru_cache(maxsize=256)
def parse_compiler(name: str) -> HostCompiler:
    """Return the compiler of a name such as `gcc-12`."""
    kind, _, major = name.partition("-")
    return HostCompiler("clang" if kind == "clang" else "gcc", major)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One combination of values, in the matrix or not. `cuda` and `cudnn` are versions as written
    in the matrix. `compiler` is a host compiler other than the default one; where none is possible,
    it may be a selector. `cuda_compiler` is one other than nvcc, `python` a release other than that
    of the operating system."""

    cuda: str
    cudnn: str | None
    os: str
    arch: str
    compiler: str | None = field(default=None, kw_only=True)
    cuda_compiler: str | None = field(default=None, kw_only=True)
    python: str | None = field(default=None, kw_only=True)

    @property
    def environment(self) -> str:
        """The name of its Dockerfile, shared by all its architectures, compilers and Pythons."""
        cudnn = f"-cudnn{self.cudnn}" if self.cudnn else ""
        return f"cuda{self.cuda}{cudnn}-{self.os}"

    @property
    def compilers(self) -> str:
        """The compilers other than the default ones, as ids name them: `clang16-cudaclang`."""
        if not (self.compiler or self.cuda_compiler):
            return ""
        cuda = f"cuda{self.cuda_compiler}" if self.cuda_compiler else ""
        return "-".join(filter(None, ((self.compiler or "").replace("-", ""), cuda)))

    @property
    def tools(self) -> str:
        """The compilers and the Python other than the default ones, as ids name them:
        `clang16-py3.14`."""
        if not self.python:
            return self.compilers
        return "-".join(filter(None, (self.compilers, f"py{self.python}")))

    def flavour(self, name: str) -> str:
        """Return the flavour `devel` or `cross` with its compilers and its Python, and `runtime`
        with its Python: `devel-clang16-py3.14`."""
        if name.startswith("runtime"):
            return f"{name}-py{self.python}" if self.python else name
        return "-".join(filter(None, (name, self.tools)))

    @property
    def with_default_tools(self) -> Candidate:
        """The candidate that shares its environment and its architecture."""
        return Candidate(self.cuda, self.cudnn, self.os, self.arch)

    @property
    def id(self) -> str:
        return f"{self.name_without_arch}-{self.arch}"

    @property
    def name_without_arch(self) -> str:
        return "-".join(filter(None, (self.environment, self.tools)))

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class CudaSource:
    """Where a cell gets CUDA from; `image` is one by digest where `source` is `image`."""

    source: str
    suite: str | None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The compiler and packages of a valid cell. `gcc` is the default compiler, the newest major
    that CUDA and the operating system allow; `cross` says whether the operating system has it as a
    cross compiler for the cell's architecture."""

    gcc: str
    cuda: CudaSource
    cudnn_project: str | None
    cudnn_source: str | None
    sm: tuple[str, ...]
    cross: bool = True


# Compared as a candidate is: by the values alone.
@dataclass(frozen=True, slots=True, eq=False)
class Cell(Candidate):
    """A cell of the matrix; `position` is the value in matrix.yaml or an overlay that adds it."""

    toolchain: Toolchain
    position: Position | None = None
    included: bool = False

    @property
    def host_compiler(self) -> HostCompiler:
        """The compiler of C and C++: the one that it names, or else the default one."""
        name = self.compiler
        return parse_compiler(name) if name else HostCompiler("gcc", self.toolchain.gcc)

    @property
    def is_crossed(self) -> bool:
        """Return whether a machine of the cross host's architecture compiles it without emulation.
        An image has CUDA for its own architecture only."""
        toolchain, target = self.toolchain, TARGETS[self.arch]
        return target.crossed == "only" or (
            target.crossed == "also" and toolchain.cross and not toolchain.cuda.image
        )


def parse_cell(cell_id: str) -> Candidate | None:
    """Return the candidate that a well-formed id names; else None."""
    match = _CELL_ID.fullmatch(cell_id)
    if match is None:
        return None
    compiler = match["compiler"]
    name = re.sub(r"^(gcc|clang)", r"\1-", compiler) if compiler else None
    cell = Candidate(**match.groupdict())
    return replace(cell, compiler=name) if name else cell


def sort_key(
    cell: Candidate,
) -> tuple[
    tuple[int, ...],
    tuple[int, ...],
    str,
    tuple[str, int, str],
    str,
    tuple[tuple[int, ...], str],
    str,
]:
    return (
        version_key(cell.cuda),
        version_key(cell.cudnn or ""),
        cell.os,
        compiler_key(cell.compiler),
        cell.cuda_compiler or "",
        python_key(cell.python),
        cell.arch,
    )


@lru_cache(maxsize=256)
def python_key(python: str | None) -> tuple[tuple[int, ...], str]:
    """Return a sort key: the Python of the operating system, then others from the oldest."""
    release = gil_release(python or "")
    return version_key(release), (python or "").removeprefix(release)


def gil_release(python: str) -> str:
    """Return the release of a Python with or without the GIL."""
    return python.removesuffix("t")


@lru_cache(maxsize=256)
def compiler_key(compiler: str | None) -> tuple[str, int, str]:
    """Return a sort key: the default compiler, then GCC, then Clang, each from the oldest."""
    if compiler is None:
        return "", 0, ""
    host = parse_compiler(compiler)
    rank = {"gcc": "1", "clang": "2"}[host.kind]
    return rank, int(host.major) if host.major.isdecimal() else 0, host.major
