"""Runs that a matrix file lists: which libraries run in which cells, when and on what. Pure."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from envmatrix.errors import Position
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.requirements import Requirement, RunsOn
from envmatrix.matrix.scalars import (
    Compilers,
    CudaCompiler,
    Name,
    OneOrMore,
    PythonRelease,
    Releases,
    Text,
    VersionOrNone,
    Word,
)
from envmatrix.matrix.tier_names import Occasion
from envmatrix.matrix.variants import BuildType, SanitizerName, StandardName
from envmatrix.records import dataclass

# Standards relative to those that a library lists and the compilers of a cell take.
StandardSelector: TypeAlias = Literal["newest", "oldest", "minmax"]
AnyStandard: TypeAlias = Literal[StandardName, StandardSelector]
STANDARD_SELECTORS: tuple[str, ...] = get_args(StandardSelector)

# Steps that every library has. The second one needs the first.
COMPILE, TEST = "compile", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """Libraries to run in cells. `libraries` are globs, all without any; an axis left out is filled
    as in a short name. Of the variants, it has those of the lists with these settings, or `named`
    ones. `steps` are what runs, by default what is compiled and tested; `runs_on` where tests and
    steps run that need a machine, instead of what the library says; `tiers` when, by default in
    every tier."""

    libraries: OneOrMore[Text] = ("*",)
    cuda: OneOrMore[Releases] | None = None
    cudnn: OneOrMore[VersionOrNone] | None = None
    os: OneOrMore[Word] | None = None
    compiler: OneOrMore[Compilers] | None = None
    cuda_compiler: OneOrMore[CudaCompiler] | None = None
    python: OneOrMore[PythonRelease] | None = None
    arch: OneOrMore[Word] | None = None
    std: OneOrMore[AnyStandard] | None = None
    build_type: OneOrMore[BuildType] | None = None
    sanitizer: OneOrMore[SanitizerName] | None = None
    named: OneOrMore[Name] = ()
    steps: OneOrMore[Name] = (COMPILE, TEST)
    runs_on: RunsOn = ()
    tiers: OneOrMore[Occasion] = get_args(Occasion)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A step of a variant of a library in a cell, on a machine, in tiers; `position` is the first
    entry that lists it."""

    cell: Cell
    library: Library
    step: str
    runs_on: Requirement | None
    tiers: tuple[str, ...]
    position: Position
