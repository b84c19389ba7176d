"""Jobs, and the graph of what they depend on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Literal, NamedTuple

from envmatrix.matrix.requirements import Requirement
from envmatrix.records import dataclass

Kind = Literal[
    "download", "base", "image", "source", "compile", "test", "step", "analyse", "measure"
]
# A verb that does jobs in many cells; `envmatrix run` has it for a single one.
Verb = Literal["compile", "test", "step", "analyse", "perf"]
# The jobs that each verb is for: what else it does, these need.
GOALS: Mapping[Verb, tuple[Kind, ...]] = {
    "compile": ("compile",),
    "test": ("test", "step"),
    "step": ("step",),
    "analyse": ("analyse",),
    "perf": ("measure",),
}
# The verb of `envmatrix run` for each kind of job in a cell.
VERB_OF: Mapping[Kind, Verb] = {
    "compile": "compile",
    "test": "test",
    "step": "step",
    "analyse": "analyse",
    "measure": "perf",
}


# A tuple, because simulations of thousands of jobs compare and hash them.
class Resources(NamedTuple):
    """Resources of a machine, or of it those that a job takes: processors, memory in bytes, GPUs,
    and downloads at a time."""

    processors: int = 0
    memory: int = 0
    gpus: int = 0
    downloads: int = 0

    def __add__(self, other: Resources) -> Resources:  # type: ignore[override]
        return Resources(
            self.processors + other.processors,
            self.memory + other.memory,
            self.gpus + other.gpus,
            self.downloads + other.downloads,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.processors - other.processors,
            self.memory - other.memory,
            self.gpus - other.gpus,
            self.downloads - other.downloads,
        )

    def fits(self, total: Resources) -> bool:
        """Return whether these are within `total`; a job that takes none of a resource fits
        always."""
        return (
            (not self.processors or self.processors <= total.processors)
            and (not self.memory or self.memory <= total.memory)
            and (not self.gpus or self.gpus <= total.gpus)
            and (not self.downloads or self.downloads <= total.downloads)
        )

    @property
    def packed(self) -> int:
        """The amounts as one number: a sum, a difference or a comparison is one operation."""
        packed = 0
        for amount in self:
            packed = packed << _BITS | amount
        return packed

    def at_most(self, total: Resources) -> Resources:
        if self.fits(total):
            return self
        return Resources(
            min(self.processors, total.processors),
            min(self.memory, total.memory),
            min(self.gpus, total.gpus),
            min(self.downloads, total.downloads),
        )


NOTHING = Resources()

# Bits of an amount in a packed number.
_BITS = 64
# The highest bit of each amount, which none has. Set in the amounts that are free, it stays set
# where a claim is subtracted that is within them: no amount borrows from the one before it.
GUARDS = Resources(*[1 << (_BITS - 1)] * 4).packed


class Work(NamedTuple):
    """Seconds, each times the processors, the memory, the GPUs or the downloads that are in use."""

    processors: float = 0.0
    memory: float = 0.0
    gpus: float = 0.0
    downloads: float = 0.0

    def __add__(self, other: Work) -> Work:  # type: ignore[override]
        return Work(
            self.processors + other.processors,
            self.memory + other.memory,
            self.gpus + other.gpus,
            self.downloads + other.downloads,
        )

    def seconds_on(self, total: Resources) -> float:
        """Return how long it takes at least, if all of a resource are in use all the time."""
        return max(work / max(amount, 1) for work, amount in zip(self, total, strict=True))


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    `id` is the sha256 (hex) of its inputs: jobs with the same id have the same result. `needs` are
    the ids of the jobs whose results it takes; `seconds` is its expected duration, and `command`
    does the same on this machine. `subject` is what it works on, such as a library and a cell. The
    result of a job is not reusable if it has inputs that its id does not have. `requirement` is
    that of the machine, and `step` the name of the library's step, if the job is one.
    """

    id: str
    kind: Kind
    subject: tuple[str, ...]
    needs: tuple[str, ...] = ()
    resources: Resources = NOTHING
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    is_reusable: bool = True
    requirement: Requirement | None = None
    step: str = ""

    @property
    def shard(self) -> str:
        """The part of the tests, such as `1/3`; empty if they are all."""
        words = bool(self.step) + (self.requirement is not None)
        return "".join(self.subject[2 + words :]) if self.kind == "test" else ""

    def __str__(self) -> str:
        return " ".join((self.kind, *self.subject))


@dataclass(frozen=True, slots=True)
class Order:
    """The jobs of a graph, the most urgent first, of equally urgent ones the first in the graph;
    and lists by their `places`, because simulations of thousands of jobs read numbers faster.
    `amounts` are the different resources that jobs take, and `amount_of` has the number of each."""

    jobs: Sequence[Job]
    places: Mapping[str, int]
    dependents: Sequence[Sequence[int]]
    seconds: Sequence[float]
    amount_of: Sequence[int]
    amounts: Sequence[Resources]


@dataclass(frozen=True)
class Graph:
    """Jobs by id, each after those that it needs."""

    jobs: Mapping[str, Job]

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Graph:
        """Return the graph of jobs in any order; of several with one id, the first counts."""
        by_id: dict[str, Job] = {}
        is_ordered = True
        for job in jobs:
            if job.id not in by_id:
                is_ordered = is_ordered and by_id.keys() >= {*job.needs}
                by_id[job.id] = job
        if is_ordered:
            return cls(by_id)
        order = TopologicalSorter({job.id: job.needs for job in by_id.values()}).static_order()
        return cls({key: by_id[key] for key in order})

    def needed_for(self, goals: Iterable[str], done: Collection[str] = ()) -> list[str]:
        """Return the ids of goals and of all jobs that they need, each after its needs, but not of
        what is done, nor of what only that needs."""
        keys: dict[str, None] = {}
        waiting = [goal for goal in goals if goal not in done]
        while waiting:
            if waiting[-1] in keys:
                waiting.pop()
                continue
            needs = self.jobs[waiting[-1]].needs
            missing = [need for need in needs if need not in keys and need not in done]
            if missing:
                waiting += missing
            else:
                keys[waiting.pop()] = None
        return [*keys]

    def without_needs_of(self, keys: Collection[str]) -> Graph:
        """Return the graph in which these jobs need no others."""
        return self._with({key: replace(self.jobs[key], needs=()) for key in keys})

    def lasting(self, seconds: Mapping[str, float]) -> Graph:
        """Return the graph in which these jobs take so many seconds."""
        return self._with({key: replace(self.jobs[key], seconds=seconds[key]) for key in seconds})

    def _with(self, jobs: Mapping[str, Job]) -> Graph:
        """Return the graph with other jobs of the same ids, which need no more than before."""
        return Graph({key: jobs.get(key, job) for key, job in self.jobs.items()})

    def of_goals(self, goals: Iterable[str]) -> Graph:
        """Return the graph of goals and of all jobs that they need."""
        return Graph({key: self.jobs[key] for key in self.needed_for(goals)})

    @cached_property
    def dependents(self) -> Mapping[str, Sequence[str]]:
        """The ids of the jobs that need each job."""
        rows: dict[str, list[str]] = {key: [] for key in self.jobs}
        for job in self.jobs.values():
            for need in job.needs:
                rows[need].append(job.id)
        return rows

    @cached_property
    def urgency(self) -> Mapping[str, float]:
        """The seconds from the start of each job to the end of the last one that depends on it."""
        seconds = dict.fromkeys(self.jobs, 0.0)  # at first, after the end of each job
        for job in reversed([*self.jobs.values()]):
            urgency = seconds[job.id] = job.seconds + seconds[job.id]
            for need in job.needs:
                if urgency > seconds[need]:
                    seconds[need] = urgency
        return seconds

    @cached_property
    def order(self) -> Order:
        """The order of urgency."""
        jobs = sorted(self.jobs.values(), key=lambda job: -self.urgency[job.id])
        places = {job.id: place for place, job in enumerate(jobs)}
        numbers: dict[Resources, int] = {}
        return Order(
            jobs,
            places,
            [[places[key] for key in self.dependents[job.id]] for job in jobs],
            [job.seconds for job in jobs],
            [numbers.setdefault(job.resources, len(numbers)) for job in jobs],
            [*numbers],
        )

    @cached_property
    def work(self) -> Work:
        """The work of all jobs."""
        rows = [(job.seconds, *job.resources) for job in self.jobs.values()]
        return Work(
            sum(seconds * processors for seconds, processors, *_ in rows),
            sum(seconds * memory for seconds, _, memory, *_ in rows),
            sum(seconds * gpus for seconds, *_, gpus, _ in rows),
            sum(seconds * downloads for seconds, *_, downloads in rows),
        )

    @property
    def critical_path(self) -> tuple[Job, ...]:
        """The chain of jobs that takes longest: no number of machines is faster."""
        path: list[Job] = []
        candidates: Iterable[str] = self.jobs
        while longest := max(candidates, key=self.urgency.__getitem__, default=None):
            path.append(self.jobs[longest])
            candidates = self.dependents[longest]
        return tuple(path)
