"""The contents of matrix.yaml and of matrix.d/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeVar

from envmatrix.matrix.library import Library
from envmatrix.matrix.model import CellAlias, NameDefaults, Publication, SourceRule
from envmatrix.matrix.runners import Ci
from envmatrix.matrix.runs import RunEntry
from envmatrix.matrix.scalars import (
    Arch,
    CommitUrl,
    Compiler,
    Compilers,
    Count,
    CountOrZero,
    CudaCompiler,
    ImageByDigest,
    Name,
    OneOrMore,
    PythonRelease,
    Release,
    Releases,
    Sm,
    Some,
    Text,
    VersionOrNone,
    Word,
)
from envmatrix.matrix.tier_names import TierName
from envmatrix.records import dataclass
from envmatrix.schema.json_schema import json_schema

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The values whose product are the cells."""

    cuda: Some[Releases]
    cudnn: Some[VersionOrNone] = ("none",)
    os: Some[Word]
    compiler: Some[Compilers] = ("default",)
    cuda_compiler: Some[CudaCompiler] = ("nvcc",)
    python: Some[PythonRelease] = ("default",)
    arch: Some[Arch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """A cell added outside of the product."""

    cuda: Release
    cudnn: VersionOrNone = "none"
    os: Word
    compiler: Compiler = "default"
    cuda_compiler: CudaCompiler = "nvcc"
    python: PythonRelease = "default"
    arch: Arch


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """Cells of the product that are not wanted; an axis left out means all its values."""

    cuda: OneOrMore[Releases] | None = None
    cudnn: OneOrMore[VersionOrNone] | None = None
    os: OneOrMore[Word] | None = None
    compiler: OneOrMore[Compilers] | None = None
    cuda_compiler: OneOrMore[CudaCompiler] | None = None
    python: OneOrMore[PythonRelease] | None = None
    arch: OneOrMore[Word] | None = None
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What images demand of the machines that they run on, and bring for them and for people."""

    require_cuda: Literal["off", "major", "release"] = "off"
    cuda_compat: Literal["off", "on"] = "off"
    dev_images: Literal["off", "on"] = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The budget of the cells that run on an occasion; a number left out is the built-in one."""

    jobs: Count | None = None
    gpu_jobs: CountOrZero | None = None
    always: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharedKeys:
    """What a matrix file has and an overlay adds to."""

    version: Literal["1"]
    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    aliases: Mapping[Name, CellAlias] = field(default_factory=dict)
    bases: Mapping[Word, ImageByDigest] = field(default_factory=dict)
    libraries: Mapping[Name, Library] = field(default_factory=dict)
    runs: tuple[RunEntry, ...] = ()
    tiers: Mapping[TierName, Tier] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFile(_SharedKeys):
    """The environments to build and the libraries to build in them."""

    axes: Axes
    sources: tuple[SourceRule, ...] = ()
    policy: Policy = Policy()
    registry: Publication | None = None
    ci: Ci = Ci()
    defaults: NameDefaults = field(default_factory=NameDefaults)
    retain: tuple[Name, ...] = ()
    commit_url: CommitUrl | None = None
    sm: Some[Sm]


_Change = Mapping[Literal["add", "remove"], tuple[_Item, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisChanges:
    """The values that axes gain and lose."""

    cuda: _Change[Releases] = field(default_factory=dict)
    cudnn: _Change[VersionOrNone] = field(default_factory=dict)
    os: _Change[Word] = field(default_factory=dict)
    compiler: _Change[Compilers] = field(default_factory=dict)
    cuda_compiler: _Change[CudaCompiler] = field(default_factory=dict)
    python: _Change[PythonRelease] = field(default_factory=dict)
    arch: _Change[Arch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayFile(_SharedKeys):
    """What one migration changes of matrix.yaml."""

    reason: Text
    axes: AxisChanges = field(default_factory=AxisChanges)
    sources: tuple[SourceRule, ...] | None = None
    policy: Policy | None = None
    defaults: NameDefaults | None = None
    sm: Some[Sm] | None = None


def json_schemas() -> Mapping[str, Mapping[str, object]]:
    """Return the JSON Schemas by file; that of overlays has references into that of the matrix."""
    file, matrix = "matrix.schema.json", json_schema(MatrixFile, "matrix.yaml")
    of_matrix = {name: f"{file}#/$defs/{name}" for name in matrix["$defs"]}
    overlay = json_schema(OverlayFile, "matrix.d/*.yaml", of_matrix)
    return {file: matrix, "matrix.d.schema.json": overlay}
