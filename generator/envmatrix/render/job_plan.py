"""Plans of jobs: as text, as a document, and in languages of graphs. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from envmatrix.jobs.execution import Prospect
from envmatrix.jobs.expansion import JobPlan
from envmatrix.jobs.model import Graph, Job
from envmatrix.jobs.schedule import estimate
from envmatrix.render.job_reasons import Reason, reason_lines
from envmatrix.text import number_of, rough_duration

if TYPE_CHECKING:
    from envmatrix.jobs.budget import Choice, Selection

# Numbers of machines for which the time is estimated.
_FLEETS = (1, 4, 16, 64)
_WHOLE_LIST = "--json has all of them"


def lines(
    plan: JobPlan, prospects: Mapping[str, Prospect], selection: Selection | None = None
) -> Iterator[str]:
    """Yield the jobs and what would become of them, those that a budget has and has not, the chain
    of them that takes longest, and the time that all take."""
    for job in plan.graph.jobs.values():
        yield f"{job.id[:12]} {rough_duration(job.seconds):>10}  {prospects[job.id]:10}  {job}"
    cells = [Reason.of_cell(cell.id, reason) for cell, reason in plan.left_out]
    yield from reason_lines("left out", cells, _WHOLE_LIST)
    jobs = plan.graph.jobs
    unmet = [Reason.of_job(jobs[key], reason) for key, reason in plan.unmet.items() if key in jobs]
    yield from reason_lines("unmet   ", unmet, _WHOLE_LIST)
    if selection:
        yield from selection_lines(selection)
    path, machine = plan.graph.critical_path, plan.machine
    chain = " -> ".join(map(str, path))
    yield f"critical path, {rough_duration(sum(job.seconds for job in path))}: {chain}"
    of_each = f"{machine.processors} processors and {machine.memory / 1e9:.0f} GB of memory"
    counts = Counter(prospects.values())
    prospects_shown = [each for each in get_args(Prospect) if each != "skipped" or counts[each]]
    yield ", ".join(f"{counts[prospect]} {prospect}" for prospect in prospects_shown)
    yield f"{number_of(len(plan.graph.jobs), 'job')}; expected time on machines of {of_each}:"
    for count, seconds in _times(plan).items():
        yield f"{count:10}  {rough_duration(seconds)}"


def selection_lines(selection: Selection) -> Iterator[str]:
    """Yield the jobs that a budget has and those that it has not, with the reasons."""
    for choice in selection.chosen:
        yield f"chosen   {choice.job}: {choice.reason}"
    left_out = [Reason.of_job(choice.job, choice.reason) for choice in selection.left_out]
    yield from reason_lines("left out", left_out, _WHOLE_LIST)
    number, total = len(selection.chosen), len(selection.chosen) + len(selection.left_out)
    yield f"{number} of {total} are within the budget of {selection.budget}"


def job_document(
    plan: JobPlan, prospects: Mapping[str, Prospect], selection: Selection | None = None
) -> Mapping[str, object]:
    """Return the plan for JSON; memory in bytes, times in seconds by the number of machines."""
    return {
        **({"budget": selection_document(selection)} if selection else {}),
        "jobs": [
            _row(job, prospects[job.id], plan.unmet.get(job.id)) for job in plan.graph.jobs.values()
        ],
        "critical_path": [job.id for job in plan.graph.critical_path],
        "seconds": {str(count): seconds for count, seconds in _times(plan).items()},
        "left_out": [{"cell": cell.id, "reason": reason} for cell, reason in plan.left_out],
    }


def selection_document(selection: Selection) -> Mapping[str, object]:
    """Return for JSON the jobs that a budget has and those that it has not, with the reasons."""
    return {
        "seconds": selection.budget.seconds,
        "gpu_seconds": selection.budget.gpu_seconds,
        "chosen": list(map(_choice, selection.chosen)),
        "left_out": list(map(_choice, selection.left_out)),
    }


def _choice(choice: Choice) -> Mapping[str, object]:
    job = choice.job
    return {"id": job.id, "kind": job.kind, "subject": job.subject, "reason": choice.reason}


def _times(plan: JobPlan) -> Mapping[int, float]:
    return {count: estimate(plan.graph, [plan.machine] * count).seconds for count in _FLEETS}


def _row(job: Job, prospect: Prospect, unmet: str | None) -> Mapping[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "prospect": prospect,
        "needs": job.needs,
        "processors": job.resources.processors,
        "memory": job.resources.memory,
        "gpus": job.resources.gpus,
        "requires": str(job.requirement) if job.requirement else None,
        "downloads": job.resources.downloads,
        "seconds": job.seconds,
        "command": job.command,
        "unmet": unmet,
    }


def mermaid(graph: Graph) -> Iterator[str]:
    """Yield the lines of the graph as a flowchart of Mermaid."""
    yield "flowchart LR"
    for number, job in enumerate(graph.jobs.values()):
        label = str(job).replace('"', "#quot;")
        yield f'  job{number}["{label}"]'
    for before, after in _edges(graph):
        yield f"  job{before} --> job{after}"


def graphviz(graph: Graph) -> Iterator[str]:
    """Yield the lines of the graph in DOT, the language of Graphviz."""
    yield from ("digraph jobs {", "  rankdir=LR;", "  node [shape=box];")
    for number, job in enumerate(graph.jobs.values()):
        yield f"  job{number} [label={json.dumps(str(job), ensure_ascii=False)}];"
    for before, after in _edges(graph):
        yield f"  job{before} -> job{after};"
    yield "}"


def _edges(graph: Graph) -> Iterator[tuple[int, int]]:
    """Yield the numbers of each two jobs of which the second needs the first."""
    numbers = {key: number for number, key in enumerate(graph.jobs)}
    for job in graph.jobs.values():
        for need in job.needs:
            yield numbers[need], numbers[job.id]
