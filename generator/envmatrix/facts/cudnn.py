"""Facts about cuDNN: the CUDA releases that each version works with, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CudnnSupport:
    """The cuDNN versions, `first` to `last`, that work with `cuda`, a release or a major."""

    cuda: str
    first: str
    ref: str
    last: str | None = None


@dataclass(frozen=True, slots=True)
class CudnnProject:
    """The project with cuDNN `first` to `last` in a source, for one CUDA major and architecture."""

    source: str
    project: str
    cuda: str
    arch: str
    first: str
    ref: str
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Cudnn:
    """All that is known of cuDNN."""

    support: tuple[CudnnSupport, ...]
    projects: tuple[CudnnProject, ...]
