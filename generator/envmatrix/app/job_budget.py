"""The jobs of a plan that are the most valuable within a budget, by the results on record."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envmatrix.app.job_plan import key_of_run
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.jobs.budget import Budget, Goal, History, Selection, select_goals
from envmatrix.jobs.expansion import JobPlan
from envmatrix.jobs.model import Kind
from envmatrix.results.location import Location
from envmatrix.results.records import BAD

if TYPE_CHECKING:
    from envmatrix.results.queries import StoredRun

_DAY = 24 * 60 * 60

# Verbs of the runs that do a job: tests compile as well.
_VERBS: Mapping[Kind, Sequence[str]] = {
    "compile": ("compile", "test"),
    "test": ("test",),
    "step": ("step",),
    "analyse": ("analyse",),
    "measure": ("perf",),
}

# Earlier runs of jobs by kind, library and cell, to which the words that tell the job from others
# there are added.
Histories = Mapping[tuple[Kind, str, str], History]


def plan_within(
    budget: Budget, plan: JobPlan, goals: Iterable[str], workspace: Workspace, console: Console
) -> tuple[JobPlan, Selection]:
    """Return the plan of the most valuable of `goals`, ids of jobs that compile or test, and which
    are chosen and left out. Only jobs in the graph of `plan` cost anything."""
    histories = _stored_histories(Location.of(workspace.root), console)
    candidates = []
    for key in goals:
        job = plan.graph.jobs[key]
        library, cell, *words = job.subject
        if job.shard:
            del words[-1]
        history = histories.get((job.kind, library, " ".join((cell, *words))), History())
        candidates.append(Goal(job, workspace.matrix.by_id[cell], history))
    selection = select_goals(plan.graph, candidates, plan.machine, budget)
    return replace(plan, graph=selection.graph), selection


def _stored_histories(location: Location, console: Console) -> Histories:
    if location.is_empty:
        return {}
    from envmatrix.results import queries  # SQLAlchemy

    try:
        with location.open_store(console.warn) as database, database.reading() as connection:
            return histories_of(queries.last_verdicts(connection), time.time())
    except EnvmatrixError as error:
        console.warn(f"{error.message}; all jobs count as never run")
        return {}


def histories_of(runs: Iterable[StoredRun], now: float) -> Histories:
    """Return the histories of jobs at the moment `now` from the last two runs of each verb and
    shard, newest first."""
    newest: dict[tuple[Kind, str, str], float] = {}
    shards: defaultdict[tuple[Kind, str, str], defaultdict[tuple[str, str], list[bool]]]
    shards = defaultdict(lambda: defaultdict(list))
    for stored in runs:
        run = stored.run
        for kind, verbs in _VERBS.items():
            if run.verb in verbs:
                key = key_of_run(kind, run)
                newest.setdefault(key, run.started)
                shards[key][(run.work, run.shard)].append(stored.end.state in BAD)
    return {
        key: History(
            max(0, int((now - started) // _DAY)),
            is_new_failure=[True, False] in shards[key].values(),
        )
        for key, started in newest.items()
    }
