"""The order of jobs: which one starts next on a machine, and how long all of them take. Pure.

Jobs are numbers here, their places in the `Order` of a graph.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter

from envmatrix.jobs.model import GUARDS, Graph, Order, Resources
from envmatrix.records import dataclass


class Queue:
    """The jobs of an order that did not start yet. `ready` are those whose needs are done: of each
    amount of resources the most urgent one, because what starts depends on nothing else."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._missing = [len(job.needs) for job in order.jobs]
        self._heaps: list[list[int]] = [[] for _ in order.amounts]
        self._given_up: set[int] = set()
        for place, missing in enumerate(self._missing):
            if not missing:
                self._heaps[order.amount_of[place]].append(place)
        self.ready = self._most_urgent()

    def _most_urgent(self) -> list[int]:
        return sorted([heap[0] for heap in self._heaps if heap])

    def take(self, place: int) -> None:
        """Remove a job that starts from those that are `ready`."""
        heap = self._heaps[self._order.amount_of[place]]
        popped = heapq.heappop(heap)
        assert popped == place  # noqa: S101 -- from `ready`
        self.ready.remove(place)
        if heap:
            insort(self.ready, heap[0])

    def finish(self, place: int) -> None:
        """Note that a job is done: those that need nothing else become ready."""
        missing, is_other = self._missing, False
        for dependent in self._order.dependents[place]:
            missing[dependent] -= 1
            if not missing[dependent] and dependent not in self._given_up:
                heap = self._heaps[self._order.amount_of[dependent]]
                heapq.heappush(heap, dependent)
                is_other = is_other or heap[0] == dependent
        if is_other:
            self.ready = self._most_urgent()

    def fail(self, place: int) -> Sequence[int]:
        """Note that a job failed; return those that depend on it, which can never start."""
        given_up, failed = [], [place]
        while failed:
            for dependent in self._order.dependents[failed.pop()]:
                if dependent not in self._given_up:
                    self._given_up.add(dependent)
                    given_up.append(dependent)
                    failed.append(dependent)
        return given_up


class Machine:
    """A machine that does jobs of an order: what jobs claim, by the number of their amount, and
    those that are running, with the times of their expected ends. Amounts are packed; `free` has
    guards."""

    def __init__(self, total: Resources, order: Order) -> None:
        self.total = total
        self.free = total.packed | GUARDS
        self.running: dict[int, tuple[float, int]] = {}
        self.order = order
        self.claims = [amount.at_most(total).packed for amount in order.amounts]

    def start(self, place: int, now: float) -> None:
        if claim := self.claims[self.order.amount_of[place]]:
            self.running[place] = (now + self.order.seconds[place], claim)
            self.free -= claim

    def end(self, place: int) -> None:
        if entry := self.running.pop(place, None):
            self.free += entry[1]


def next_job(ready: Iterable[int], machine: Machine, now: float) -> int | None:
    """Return the most urgent of the `ready` jobs that starts now on a machine, if any.

    A job that has to wait for others to end is not overtaken by what would delay it: what starts
    before it ends before it could start, or takes what it leaves.
    """
    blocked: int | None = None
    free, claims, amount_of = machine.free, machine.claims, machine.order.amount_of
    for place in ready:
        if (free - claims[amount_of[place]]) & GUARDS != GUARDS:
            blocked = place if blocked is None else blocked
        elif blocked is None or not _delays(place, blocked, machine, now):
            return place
    return None


def _delays(place: int, blocked: int, machine: Machine, now: float) -> bool:
    """Return whether a job that starts now delays a blocked one."""
    order, free = machine.order, machine.free
    needed, claim = (machine.claims[order.amount_of[each]] for each in (blocked, place))
    for end, other in sorted(machine.running.values(), key=itemgetter(0)):
        free += other
        if (free - needed) & GUARDS == GUARDS:
            is_over = now + order.seconds[place] <= end
            return not is_over and (free - needed - claim) & GUARDS != GUARDS
    return False


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds of a graph on machines: until all is done, and the least that any order
    could take. `start_times` are those of the jobs in their `order`."""

    seconds: float
    bound: float
    order: Order
    start_times: Sequence[float]

    @property
    def starts(self) -> Mapping[str, float]:
        """The time at which each job starts, by id."""
        times = zip(self.order.jobs, self.start_times, strict=True)
        return {job.id: start for job, start in times}


def estimate(graph: Graph, machines: Collection[Resources]) -> Estimate:
    """Return how long a graph takes on machines with these resources."""
    order = graph.order
    queue, fleet = Queue(order), [Machine(total, order) for total in machines]
    ends: list[tuple[float, int, Machine]] = []
    now, starts, candidates = 0.0, [0.0] * len(order.jobs), fleet
    while True:
        for machine in candidates:
            while (place := next_job(queue.ready, machine, now)) is not None:
                queue.take(place)
                machine.start(place, now)
                starts[place] = now
                heapq.heappush(ends, (now + order.seconds[place], place, machine))
        if not ends:
            return Estimate(now, _bound(graph, fleet), order, starts)
        now, place, machine = heapq.heappop(ends)
        machine.end(place)
        refused = queue.ready
        queue.finish(place)
        # Other machines refused these already.
        candidates = [machine] if queue.ready is refused else fleet


def _bound(graph: Graph, fleet: Iterable[Machine]) -> float:
    """Return the longest of the critical path and the work for each resource, spread evenly."""
    totals = Resources()
    for machine in fleet:
        totals += machine.total
    return max(graph.work.seconds_on(totals), max(graph.urgency.values(), default=0.0))
