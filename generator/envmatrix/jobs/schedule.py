"""The order of jobs: which one starts next on a machine, and how long all of them take. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter

from envmatrix.jobs.model import Graph, Job, Resources


class Queue:
    """The jobs of a graph that did not start yet. Ready are those whose needs are done."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._missing = {job.id: len(job.needs) for job in graph.jobs.values()}
        # By what they take: of each, only the most urgent one is looked at.
        self._ready: defaultdict[Resources, list[tuple[float, int, Job]]] = defaultdict(list)
        self._order = count()
        self._given_up: set[str] = set()
        for job in graph.jobs.values():
            if not job.needs:
                self._add(job)

    @property
    def ready(self) -> list[Job]:
        """The most urgent jobs that are ready: one for each amount of resources."""
        return [job for _, _, job in sorted([heap[0] for heap in self._ready.values() if heap])]

    def take(self, job: Job) -> None:
        """Remove a job that starts from those that are `ready`."""
        heap = self._ready[job.resources]
        assert heap[0][2] is job  # noqa: S101 -- from `ready`
        heapq.heappop(heap)

    def finish(self, job: Job) -> None:
        """Note that a job is done: those that need nothing else become ready."""
        for key in self._graph.dependents[job.id]:
            self._missing[key] -= 1
            if not self._missing[key] and key not in self._given_up:
                self._add(self._graph.jobs[key])

    def fail(self, job: Job) -> tuple[Job, ...]:
        """Note that a job failed; return those that depend on it, which can never start."""
        given_up, keys = [], [job.id]
        while keys:
            for key in self._graph.dependents[keys.pop()]:
                if key not in self._given_up:
                    self._given_up.add(key)
                    given_up.append(self._graph.jobs[key])
                    keys.append(key)
        return tuple(given_up)

    def _add(self, job: Job) -> None:
        entry = (-self._graph.urgency[job.id], next(self._order), job)
        heapq.heappush(self._ready[job.resources], entry)


@dataclass(slots=True)
class Machine:
    """A machine: its resources, and those that running jobs take, by id, with the times of their
    expected ends."""

    total: Resources
    running: dict[str, tuple[float, Resources]] = field(default_factory=dict)
    free: Resources = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.total

    def start(self, job: Job, now: float) -> None:
        if any(job.resources):
            claim = job.resources.at_most(self.total)
            self.running[job.id] = (now + job.seconds, claim)
            self.free -= claim

    def end(self, job: Job) -> None:
        if entry := self.running.pop(job.id, None):
            self.free += entry[1]

    def fits(self, job: Job) -> bool:
        return job.resources.at_most(self.total).fits(self.free)


def next_job(ready: Sequence[Job], machine: Machine, now: float) -> Job | None:
    """Return the most urgent of the `ready` jobs that starts now on a machine, if any.

    A job that has to wait for others to end is not overtaken by what would delay it: what starts
    before it ends before it could start, or takes what it leaves.
    """
    blocked: Job | None = None
    for job in ready:
        if not machine.fits(job):
            blocked = blocked or job
        elif blocked is None or not _delays(job, blocked, machine, now):
            return job
    return None


def _delays(job: Job, blocked: Job, machine: Machine, now: float) -> bool:
    """Return whether a job that starts now delays a blocked one."""
    needed, takes = (each.resources.at_most(machine.total) for each in (blocked, job))
    free = machine.free
    for end, claim in sorted(machine.running.values(), key=itemgetter(0)):
        free += claim
        if needed.fits(free):
            is_over = now + job.seconds <= end
            return not is_over and not takes.fits(free - needed)
    return False


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds of a graph on machines: until all is done, and the least that any order
    could take. `starts` has the time at which each job starts, by id."""

    seconds: float
    bound: float
    starts: dict[str, float]


def estimate(graph: Graph, machines: Collection[Resources]) -> Estimate:
    """Return how long a graph takes on machines with these resources."""
    queue, fleet = Queue(graph), [Machine(total) for total in machines]
    ends: list[tuple[float, str, Job, Machine]] = []
    now, starts, candidates = 0.0, {}, fleet
    ready = queue.ready
    while True:
        for machine in candidates:
            while job := next_job(ready, machine, now):
                queue.take(job)
                machine.start(job, now)
                starts[job.id] = now
                heapq.heappush(ends, (now + job.seconds, job.id, job, machine))
                ready = queue.ready
        if not ends:
            return Estimate(now, _bound(graph, fleet), starts)
        now, _, job, machine = heapq.heappop(ends)
        machine.end(job)
        queue.finish(job)
        refused, ready = ready, queue.ready
        candidates = [machine] if ready == refused else fleet


def _bound(graph: Graph, fleet: Iterable[Machine]) -> float:
    """Return the longest of the critical path and the work for each resource, spread evenly."""
    totals = Resources()
    for machine in fleet:
        totals += machine.total
    return max(graph.work.seconds_on(totals), max(graph.urgency.values(), default=0.0))
