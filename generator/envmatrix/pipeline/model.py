"""The pipeline document: the jobs that a CI engine runs, each by `envmatrix ci run ID`.

It is derived from the graph of jobs, and engines only translate it. It travels between jobs as an
artifact, so whoever reads it checks it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

from envmatrix.errors import ConfigurationError
from envmatrix.jobs.model import Kind
from envmatrix.records import dataclass

VERSION = "1"

# In the order in which they run; analyses run beside tests.
Stage = Literal["images", "compile", "test", "measure"]
STAGES: tuple[Stage, ...] = get_args(Stage)
STAGE_OF: Mapping[Kind, Stage] = {
    "image": "images",
    "compile": "compile",
    "test": "test",
    "step": "test",
    "analyse": "test",
    "measure": "measure",
}
# What an engine does with a job: it runs it, or it shows why it does not.
Prospect = Literal["to do", "reused", "skipped"]
TriggerKind = Literal["pull_request", "merge_group", "push", "schedule", "manual"]
Rerun = Literal["none", "failed", "all"]

_ID = re.compile(r"[0-9a-f]{64}")
_GROUP_DIGITS = 12
_HINT = "plan again: `envmatrix ci plan`"


@dataclass(frozen=True, slots=True)
class Runner:
    """A class of runners: their architecture (Docker's name), their GPUs, and their memory in bytes
    (0: any job fits). The labels select one in each engine."""

    name: str
    arch: str
    gpus: int = 0
    gpu: str = ""
    memory: int = 0
    github: tuple[str, ...] = ()
    gitlab: tuple[str, ...] = ()
    jenkins: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a pipeline runs: the event, and what people asked for. `base` is the revision that a
    change is compared with; a plan has none if nothing was compared. A pipeline that is not
    `is_trusted`, as of a fork, has no secrets, and writes to no cache and no registry."""

    kind: TriggerKind = "manual"
    tier: str | None = None
    base: str | None = None
    cells: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    rerun: Rerun = "none"
    is_trusted: bool = True


@dataclass(frozen=True, slots=True)
class PipelineJob:
    """A job of the graph on a runner.

    Attributes:
        id: that of the job of the graph, a sha256 in hex.
        name: the job for people, `test vectorops cuda13.5-debian12-x86_64`.
        library, cell: what it works on; of an image job, its environment is the cell.
        needs: ids of jobs of this pipeline whose results it takes.
        runner: the name of a class of runners.
        minutes: the limit of its time.
        tier: the first tier that has its cell.
        reason: why it runs, is reused, or is skipped.
        command: words that reproduce it on a machine of people.
        images: the digests of its images by name; None for an image that is not published.
    """

    id: str
    name: str
    kind: Kind
    stage: Stage
    library: str
    cell: str
    needs: tuple[str, ...]
    runner: str
    minutes: int
    tier: str
    reason: str
    command: tuple[str, ...]
    prospect: Prospect = "to do"
    images: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """A short name of the cell with letters and digits alone, for names of artifacts: a job
        needs artifacts of its group."""
        return hashlib.sha256(self.cell.encode()).hexdigest()[:_GROUP_DIGITS]


@dataclass(frozen=True)
class Pipeline:
    """The jobs of a revision (a commit; empty without git), each after those that it needs.
    `left_out` are cells without jobs, with the reason; `saved` are the expected seconds of the
    jobs that do not run because their results are reused or no change affects them."""

    revision: str
    trigger: Trigger
    jobs: tuple[PipelineJob, ...]
    runners: Mapping[str, Runner]
    left_out: Mapping[str, str] = field(default_factory=dict)
    saved: float = 0.0

    @property
    def emptiness(self) -> str:
        """Why there is no job; nothing if there is one."""
        if self.jobs:
            return ""
        if self.trigger.base:
            return f"no change since `{self.trigger.base}` affects what is selected"
        return "no selected library has a job in a selected cell"

    @cached_property
    def by_id(self) -> Mapping[str, PipelineJob]:
        return {job.id: job for job in self.jobs}

    def of_stage(self, stage: Stage) -> Sequence[PipelineJob]:
        """Return the jobs of a stage that an engine runs."""
        return [job for job in self.jobs if job.stage == stage and job.prospect == "to do"]


def document(pipeline: Pipeline) -> str:
    """Return a pipeline as JSON, one job on a line."""
    # `asdict` would copy every value of thousands of jobs.
    encode, names = json.JSONEncoder().encode, [row.name for row in fields(PipelineJob)]
    rows = ",\n".join(encode({name: getattr(job, name) for name in names}) for job in pipeline.jobs)
    head = {
        "version": VERSION,
        "revision": pipeline.revision,
        "trigger": asdict(pipeline.trigger),
        "runners": {name: asdict(runner) for name, runner in pipeline.runners.items()},
        "left_out": dict(pipeline.left_out),
        "saved": pipeline.saved,
    }
    return f'{json.dumps(head)[:-1]}, "jobs": [\n{rows}\n]}}\n'


def pipeline_of(text: str, source: str) -> Pipeline:
    """Return the pipeline of a document; raise ConfigurationError, with the `source` of the text,
    where it is none that `document` writes."""
    try:
        contents = json.loads(text)
        if contents["version"] != VERSION:
            raise _Invalid(f"its version is not {VERSION}")
        pipeline = Pipeline(
            _checked(contents["revision"], str),
            _record(Trigger, contents["trigger"]),
            tuple(_record(PipelineJob, row) for row in _checked(contents["jobs"], list)),
            {
                name: _record(Runner, row)
                for name, row in _checked(contents["runners"], dict).items()
            },
            {
                cell: _checked(why, str)
                for cell, why in _checked(contents["left_out"], dict).items()
            },
            _seconds(contents["saved"]),
        )
        for problem in _problems(pipeline):
            raise _Invalid(problem)
    except KeyError as error:
        raise ConfigurationError(f"`{source}` lacks {error}", hint=_HINT) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"`{source}` is no pipeline: {error}", hint=_HINT) from error
    return pipeline


class _Invalid(ValueError):
    """A document is none of a pipeline."""


def _record(kind: Callable[..., Any], row: object) -> Any:
    """Return a record of a table: lists are tuples; values have the types of the fields."""
    values = _checked(row, dict)
    fields = getattr(kind, "__dataclass_fields__")  # noqa: B009
    if unknown := values.keys() - fields:
        raise _Invalid(f"`{min(unknown)}` is no key of {kind.__name__}")
    for name, value in values.items():
        _check_value(name, value)
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


_NUMBERS = {"gpus", "memory", "minutes"}
_LISTS = {"needs", "command", "cells", "libraries", "github", "gitlab"}
_CHOICES: Mapping[str, Collection[object]] = {
    "kind": (*get_args(Kind), *get_args(TriggerKind)),
    "stage": STAGES,
    "prospect": get_args(Prospect),
    "rerun": get_args(Rerun),
    "is_trusted": (True, False),
}
_OPTIONAL = {"tier", "base"}


def _check_value(name: str, value: object) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise _Invalid(f"`{name}` is not one of {', '.join(map(str, _CHOICES[name]))}")
    elif name in _NUMBERS:
        if type(value) is not int or value < 0:
            raise _Invalid(f"`{name}` is no number")
    elif name in _LISTS:
        for item in _checked(value, list):
            _checked(item, str)
    elif name == "images":
        for digest in _checked(value, dict).values():
            _checked(digest, (str, type(None)))
    elif not (value is None and name in _OPTIONAL):
        _checked(value, str)


def _seconds(value: object) -> float:
    seconds: float = _checked(value, (int, float))
    if not 0 <= seconds <= sys.float_info.max:
        raise _Invalid("`saved` is no number of seconds")
    return float(seconds)


def _checked(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise _Invalid(f"{type(value).__name__} where something else belongs")
    return value


def _problems(pipeline: Pipeline) -> Iterator[str]:
    """Yield the references that lead nowhere."""
    earlier: set[str] = set()
    for job in pipeline.jobs:
        if not _ID.fullmatch(job.id):
            yield f"`{job.id}` is no id of a job"
        if job.id in earlier:
            yield f"the job {job.id} is there twice"
        if missing := [need for need in job.needs if need not in earlier]:
            yield f"the job {job.id} needs {missing[0]}, which is not before it"
        if job.prospect == "to do" and job.runner not in pipeline.runners:
            yield f"there is no class of runners `{job.runner}`"
        earlier.add(job.id)
