"""The execution of a graph: which jobs are left, what starts next, and what becomes of each job.
Pure: the caller starts them, and says how they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import Literal, get_args

from envmatrix.jobs.model import GOALS, Graph, Job, Resources, Verb
from envmatrix.jobs.schedule import Machine, Queue, next_job
from envmatrix.records import dataclass

JobState = Literal[
    "done",
    "reused",
    "flaky",
    "waived",
    "skipped",
    "postponed",
    "failed",
    "left out",
    "interrupted",
]
# What would become of a job: its result is reused, this machine cannot do it, nothing that is done
# needs it, or it is done.
Prospect = Literal["reused", "skipped", "not needed", "to do"]
# In the order in which people read them.
STATES: tuple[JobState, ...] = get_args(JobState)
# A job that depends on one that ends so cannot start.
_ENDS_OTHERS: Collection[JobState] = ("failed", "interrupted")


@dataclass(frozen=True, slots=True)
class JobResult:
    """The end of a job: when it started, in seconds after the execution did, and how long it took;
    why it ended so, and what to do about it if that is known; its tests by state, and the name of
    its error in `errors`. A failure `of_infrastructure` is worth a second attempt elsewhere."""

    state: JobState
    started: float = 0.0
    seconds: float = 0.0
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    remedy: str = ""
    of_infrastructure: bool = False

    @property
    def is_bad(self) -> bool:
        return self.state in ("failed", "left out", "interrupted")


def remaining(graph: Graph, goals: Iterable[str], done: Collection[str]) -> Graph:
    """Return the graph of the jobs that are left to do: the goals, and what they need, but not what
    is done, nor what only that needs."""
    left = {*graph.needed_for(goals, done)}
    return Graph(
        {
            key: replace(job, needs=tuple(need for need in job.needs if need in left))
            for key, job in graph.jobs.items()
            if key in left
        }
    )


def prospects(
    graph: Graph,
    goals: Iterable[str],
    reused: Collection[str],
    present: Collection[str],
    skipped: Collection[str] = (),
) -> Mapping[str, Prospect]:
    """Return what would become of each job if the results of some are reused, what others make is
    present, and others are skipped."""
    left = {*graph.needed_for(goals, {*reused, *present, *skipped})}
    ends: dict[str, Prospect] = {
        **dict.fromkeys(left, "to do"),
        **dict.fromkeys(skipped, "skipped"),
        **dict.fromkeys(reused, "reused"),
    }
    return {key: ends.get(key, "not needed") for key in graph.jobs}


class Execution:
    """The jobs of a graph while a machine works on them, at most `most` at once. The first failure
    ends all with `fails_fast`; otherwise it ends what depends on it."""

    def __init__(
        self, graph: Graph, machine: Resources, most: int | None = None, *, fails_fast: bool = False
    ) -> None:
        self.graph = graph
        self.results: dict[str, JobResult] = {}
        self.counts: Counter[JobState] = Counter()
        self.running: dict[str, Job] = {}
        self._order = graph.order
        self._queue = Queue(self._order)
        self._machine = Machine(machine, self._order)
        self._most = most
        self._fails_fast = fails_fast
        self.is_stopped = False

    @property
    def is_over(self) -> bool:
        return not self.running and len(self.results) == len(self.graph.jobs)

    @property
    def queued(self) -> int:
        """The number of jobs that neither started nor ended."""
        return len(self.graph.jobs) - len(self.results) - len(self.running)

    def start_next(self, now: float) -> Job | None:
        """Return the job that starts now, if any does."""
        if self.is_stopped or (self._most and len(self.running) >= self._most):
            return None
        place = next_job(self._queue.ready, self._machine, now)
        if place is None:
            return None
        self._queue.take(place)
        self._machine.start(place, now)
        job = self._order.jobs[place]
        self.running[job.id] = job
        return job

    def end(self, job: Job, result: JobResult) -> None:
        """Note the end of a job; what can no longer start is left out."""
        del self.running[job.id]
        place = self._order.places[job.id]
        self._machine.end(place)
        self._note(job, result)
        if result.state not in _ENDS_OTHERS:
            self._queue.finish(place)
            return
        for other in self._queue.fail(place):
            self._leave_out(self._order.jobs[other], f"`{job}` {result.state}")
        if self._fails_fast:
            self.stop(f"`{job}` {result.state}")

    def stop(self, reason: str) -> None:
        """Start no other job."""
        self.is_stopped = True
        for job in self.graph.jobs.values():
            if job.id not in self.running:
                self._leave_out(job, reason)

    def _leave_out(self, job: Job, reason: str) -> None:
        if job.id not in self.results:
            self._note(job, JobResult("left out", message=reason))

    def _note(self, job: Job, result: JobResult) -> None:
        self.results[job.id] = result
        self.counts[result.state] += 1


def goals_of(graph: Graph, verb: Verb) -> tuple[str, ...]:
    """Return the ids of the jobs that a verb is for: compilations; analyses; measurements; or
    tests, and the compilations that nothing tests."""
    return tuple(
        job.id
        for job in graph.jobs.values()
        if job.kind in GOALS[verb] or (job.kind == "compile" and not graph.dependents[job.id])
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the jobs of a graph: of the goals that were reused, and of those that were
    left. `cells` are those that this machine cannot compile for, with the reason; `seconds` is the
    time until all was over, or interrupted; `goals` are the jobs that all others are for; `absent`
    are compilations whose results were reused while this checkout has no outputs of them."""

    jobs: Mapping[str, Job]
    results: Mapping[str, JobResult]
    cells: Mapping[str, str]
    seconds: float
    is_interrupted: bool = False
    goals: Collection[str] = ()
    absent: Collection[str] = ()

    @property
    def counts(self) -> Mapping[JobState, int]:
        counts = Counter(result.state for result in self.results.values())
        return {state: counts[state] for state in STATES if counts[state]}

    @property
    def is_bad(self) -> bool:
        return any(result.is_bad for result in self.results.values())

    @property
    def is_skipped(self) -> bool:
        """Return whether nothing of what there was to do was done: this machine could not do it, or
        the budget was too small."""
        ends = {self.results[key].state for key in self.goals if key in self.results}
        is_left = bool(ends) and ends <= {"skipped", "postponed"}
        return is_left or (not self.goals and bool(self.cells))

    def in_state(self, state: JobState) -> Iterator[tuple[Job, JobResult]]:
        """Yield the jobs that ended in a state."""
        for key, result in self.results.items():
            if result.state == state:
                yield self.jobs[key], result
