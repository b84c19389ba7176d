"""Pipelines for tests of engines, without a matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from envmatrix.jobs.model import Kind
from envmatrix.pipeline.model import STAGE_OF, Pipeline, PipelineJob, Runner, Trigger


def job_of(kind: Kind, cell: str, needs: Sequence[str] = (), **values: Any) -> PipelineJob:
    """Return a job of a library in a cell; `values` are other fields."""
    library = values.get("library", "library")
    name = f"{kind} {library} {cell}"
    fields = {
        "id": hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest(),
        "name": name,
        "kind": kind,
        "stage": STAGE_OF[kind],
        "library": library,
        "cell": cell,
        "needs": tuple(needs),
        "runner": "x86_64",
        "minutes": 30,
        "tier": "pr",
        "reason": "it has no result",
        "command": ("envmatrix", kind, cell),
        **values,
    }
    return PipelineJob(**fields)


def pipeline_of_cells(count: int, label: str = "ubuntu-24.04") -> Pipeline:
    """Return a pipeline that compiles and tests a library in so many cells, half of all jobs."""
    jobs = []
    for number in range(count // 2):
        cell = f"cuda13.{number}-cudnn9.28-debian12-gcc12-aarch64"
        compilation = job_of("compile", cell)
        jobs += [compilation, job_of("test", cell, [compilation.id])]
    runner = Runner("x86_64", "amd64", github=(label,))
    return Pipeline("0" * 40, Trigger("push"), tuple(jobs), {"x86_64": runner})
