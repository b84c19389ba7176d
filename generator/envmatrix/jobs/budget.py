"""The most valuable jobs within a budget of time. Pure.

New failures come first, then what was not run for the longest, in whole days; of equal ones, first
those of the cells that cover the most pairs of values that no earlier one covers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from envmatrix.jobs.model import Graph, Job, Resources, Work
from envmatrix.jobs.schedule import estimate
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.tiers import covering, pairs_of, reason_of_coverage
from envmatrix.records import dataclass
from envmatrix.text import duration, rough_duration

# How often the time that one goal is too long for is offered to the next ones.
_ROUNDS = 4
_NO_TIME, _NO_GPU = "no time is left", "no GPU minutes are left"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits in seconds: of the time on a machine until all is done, and of the time that GPUs are
    in use, the sum of all GPUs."""

    seconds: float | None = None
    gpu_seconds: float | None = None

    @property
    def is_limited(self) -> bool:
        return self.seconds is not None or self.gpu_seconds is not None

    def __str__(self) -> str:
        time = [] if self.seconds is None else [duration(self.seconds)]
        gpu = [] if self.gpu_seconds is None else [f"{self.gpu_seconds / 60:g} GPU minutes"]
        return " and ".join((*time, *gpu))


NO_LIMIT = Budget()


@dataclass(frozen=True, slots=True)
class History:
    """The earlier runs of a job: the whole days since the last one, None if there is none, and
    whether that failed after one that passed."""

    days: int | None = None
    is_new_failure: bool = False

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """A sort key: the most valuable first."""
        return not self.is_new_failure, self.days is not None, -(self.days or 0)

    def __str__(self) -> str:
        if self.is_new_failure:
            return "failed, and passed before"
        if self.days is None:
            return "never run"
        if self.days == 0:
            return "run within a day"
        return f"not run for {self.days} day{'s' if self.days > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A job that is wanted, with the cell that it is for."""

    job: Job
    cell: Cell
    history: History = History()


@dataclass(frozen=True, slots=True)
class Choice:
    """A job, and the reason that it is chosen, or left out."""

    job: Job
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The goals that are within a budget and those that are left out, the most valuable first, and
    the graph of the chosen ones with all that they need."""

    budget: Budget
    chosen: Sequence[Choice]
    left_out: Sequence[Choice]
    graph: Graph


def select_goals(
    graph: Graph, goals: Iterable[Goal], machine: Resources, budget: Budget
) -> Selection:
    """Choose goals, the most valuable first, while they and what they need are within a budget.

    One that is too long does not keep others from being chosen. A larger budget never has a less
    valuable first choice.
    """
    limits = _Limits(graph, machine, budget)
    ranked = [*_ranked(goals)]
    refusals = {choice.job.id: limits.refusal(choice.job) for choice in ranked}
    waiting = [choice for choice in ranked if not refusals[choice.job.id]]
    chosen: list[Choice] = []
    for _ in range(_ROUNDS):
        candidates, others = limits.within_work(chosen, waiting)
        refusals |= others
        count = limits.schedulable(chosen, candidates)
        chosen += candidates[:count]
        if count == len(candidates):
            break
        waiting = waiting[waiting.index(candidates[count]) + 1 :]
        refusals |= {choice.job.id: _NO_TIME for choice in candidates[count:]}
    keys = dict.fromkeys(choice.job.id for choice in chosen)  # in order, as in their schedule
    left_out = [
        Choice(choice.job, refusals[choice.job.id] or _NO_TIME)
        for choice in ranked
        if choice.job.id not in keys
    ]
    return Selection(budget, chosen, left_out, graph.of_goals(keys))


def _ranked(goals: Iterable[Goal]) -> Iterator[Choice]:
    """Yield the goals with the reasons for their value, the most valuable first."""
    ordered = sorted(goals, key=lambda goal: goal.history.rank)
    uncovered = pairs_of(goal.cell for goal in ordered)
    for _, group in groupby(ordered, key=lambda goal: goal.history.rank):
        by_cell: defaultdict[Cell, list[Goal]] = defaultdict(list)
        for goal in group:
            by_cell[goal.cell].append(goal)
        counts = dict(covering([*by_cell], uncovered))
        for cell in (*counts, *(cell for cell in by_cell if cell not in counts)):
            coverage = f", {reason_of_coverage(2, counts[cell])}" if cell in counts else ""
            for goal in by_cell[cell]:
                yield Choice(goal.job, f"{goal.history}{coverage}")


@dataclass(frozen=True, slots=True)
class _Limits:
    """A budget for the jobs of a graph on a machine."""

    graph: Graph
    machine: Resources
    budget: Budget

    def refusal(self, job: Job) -> str:
        """Return why a job is not within the budget even if it is the only goal; empty if it is.
        What follows a colon is of this job alone."""
        alone = self.graph.of_goals([job.id])
        gpu_seconds = self._work(alone.jobs).gpus
        if _exceeds(gpu_seconds, self.budget.gpu_seconds):
            return f"takes too many GPU minutes: {gpu_seconds / 60:.1f}"
        in_sequence = sum(job.seconds for job in alone.jobs.values())
        if _exceeds(in_sequence, self.budget.seconds):  # no order takes longer
            seconds = estimate(alone, [self.machine]).seconds
            if _exceeds(seconds, self.budget.seconds):
                return f"takes too long with what it needs: about {rough_duration(seconds)}"
        return ""

    def within_work(
        self, chosen: Iterable[Choice], waiting: Iterable[Choice]
    ) -> tuple[Sequence[Choice], Mapping[str, str]]:
        """Return the goals that are, beside the chosen ones, within the budget if all resources are
        in use all the time, and the reasons against the others."""
        keys = dict.fromkeys(self.graph.needed_for(choice.job.id for choice in chosen))
        work = self._work(keys)
        candidates, refusals = [], {}
        for choice in waiting:
            more = self.graph.needed_for([choice.job.id], keys)
            total = work + self._work(more)
            if _exceeds(total.gpus, self.budget.gpu_seconds):
                refusals[choice.job.id] = _NO_GPU
            elif _exceeds(total.seconds_on(self.machine), self.budget.seconds):
                refusals[choice.job.id] = _NO_TIME
            else:
                candidates.append(choice)
                keys |= dict.fromkeys(more)
                work = total
        return candidates, refusals

    def schedulable(self, chosen: Sequence[Choice], candidates: Sequence[Choice]) -> int:
        """Return how many of the candidates are, beside the chosen ones, done in time."""
        limit = self.budget.seconds
        if limit is None:
            return len(candidates)

        def seconds(count: int) -> float:
            goals = (choice.job.id for choice in (*chosen, *candidates[:count]))
            return estimate(self.graph.of_goals(goals), [self.machine]).seconds

        if seconds(len(candidates)) <= limit:
            return len(candidates)
        return bisect_right(range(1, len(candidates)), limit, key=seconds)

    def _work(self, keys: Iterable[str]) -> Work:
        """Return the work of jobs, none of which takes more than the machine has."""
        total = Work()
        for key in keys:
            job = self.graph.jobs[key]
            total += Work(*(job.seconds * amount for amount in job.resources.at_most(self.machine)))
        return total


def _exceeds(seconds: float, limit: float | None) -> bool:
    return limit is not None and seconds > limit
