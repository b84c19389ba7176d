"""The pipeline of a repository for a trigger: what changes affect, and what is on record."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.app.job_plan import (
    CellRuns,
    JobSelection,
    baselines,
    basis_of,
    cell_runs,
    duration_key,
    kind_of,
    libraries_of,
)
from envmatrix.app.pipeline_files import PLAN, revision_of
from envmatrix.app.selected_libraries import absent_submodules
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.files import readable_text, text_of, write_whole
from envmatrix.jobs.execution import goals_of
from envmatrix.jobs.expansion import Basis, CellRun, Durations, image_job_id, job_graph
from envmatrix.jobs.model import Graph, Resources, Verb
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.model import ANALYSIS, Matrix
from envmatrix.matrix.selection import select
from envmatrix.matrix.tier_names import TIERS
from envmatrix.matrix.tiers import GPU_ARCH, choices_among, tier_of
from envmatrix.pipeline.machines import Machines, host_of, runners_of
from envmatrix.pipeline.model import Pipeline, Rerun, Runner, Trigger, TriggerKind, document
from envmatrix.pipeline.planning import CellPlace, Recorded, Work, plan_pipeline
from envmatrix.pipeline.triggers import Engine, Event, Variables, trigger_of
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecords
from envmatrix.results.location import Location

if TYPE_CHECKING:
    from envmatrix.jobs.model import Kind

# What the ids of jobs do not depend on, and memory is the least that a job takes: one compiler.
_MACHINE = Resources(processors=1)
_WITH_GPU = Resources(processors=1, gpus=1)
# The newest runs that tell how long jobs take.
_MOST_RUNS = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for beside what the engine says, or instead of it."""

    kind: TriggerKind | None = None
    base: str | None = None
    tier: str | None = None
    cells: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    rerun: Rerun | None = None


def read_trigger(engine: Engine | None, variables: Variables, request: Request) -> Trigger:
    """Return why a pipeline runs, and what of it: options of the command line count before what
    the engine says."""
    event = _event(variables) if engine == "github" else {}
    trigger = trigger_of(engine, variables, event, request.kind)
    return replace(
        trigger,
        tier=request.tier or trigger.tier,
        base=request.base or trigger.base,
        cells=request.cells or trigger.cells,
        libraries=request.libraries or trigger.libraries,
        rerun=request.rerun or trigger.rerun,
    )


def _event(variables: Variables) -> Event:
    """Return the document of an event of GitHub's; nothing without one."""
    path = variables.get("GITHUB_EVENT_PATH")
    if not path:
        return {}
    hint = "GitHub writes it for each job; leave `$GITHUB_EVENT_PATH` as it is"
    try:
        event = json.loads(text_of(Path(path), "$GITHUB_EVENT_PATH"))
    except FileNotFoundError as error:
        raise ConfigurationError("there is no file `$GITHUB_EVENT_PATH`", hint=hint) from error
    except (ValueError, RecursionError) as error:
        message = f"`$GITHUB_EVENT_PATH` is no JSON: {error}"
        raise ConfigurationError(message, hint=hint) from error
    return event if isinstance(event, dict) else {}


def plan_for(
    workspace: Workspace,
    engine: Engine | None,
    trigger: Trigger,
    directory: Path,
    console: Console,
) -> Pipeline:
    """Return the pipeline of a repository for a trigger, which is written to a directory. Raise
    ConfigurationError if no class of runners is one of the engine."""
    matrix = workspace.matrix
    runners = runners_of(matrix, engine)
    machines = Machines(matrix, runners)
    selected = _Selected.of(workspace, trigger, {row.arch for row in runners.values()})
    work = _work(workspace, trigger, machines, selected, console)
    return plan_pipeline(work, matrix, runners, trigger, revision_of(workspace.root, directory))


@dataclass(frozen=True, slots=True)
class _Selected:
    """The cells of a pipeline, by their ids, and those whose tests the tier has a GPU for."""

    places: Mapping[str, CellPlace]
    with_gpu: Collection[Cell]

    @classmethod
    def of(cls, workspace: Workspace, trigger: Trigger, arches: Collection[str]) -> _Selected:
        matrix, tier = workspace.matrix, trigger.tier
        cells = select(matrix, trigger.cells)
        reasons = dict.fromkeys(cells, "selected" if trigger.cells else "every cell")
        with_gpu = {*cells}
        if tier:
            choices = choices_among(tier_of(matrix, tier), cells)
            reasons = {row.cell: f"tier `{tier}`: {row.reason}" for row in choices}
            # A budget counts the cells of one architecture.
            with_gpu = {
                row.cell
                for row in choices
                if row.gpu or (row.cell.arch != GPU_ARCH and tier not in matrix.tiers)
            }
        tiers = workspace.of_matrix("first tiers", lambda: _first_tiers(matrix))
        places = {
            cell.id: CellPlace(host_of(cell, arches), tiers.get(cell.id, TIERS[-1]), reason)
            for cell, reason in reasons.items()
        }
        return cls(places, with_gpu)


def _first_tiers(matrix: Matrix) -> Mapping[str, str]:
    """Return the first tier with each cell, by its id."""
    return {row.cell.id: name for name in reversed(TIERS) for row in tier_of(matrix, name).choices}


def _work(
    workspace: Workspace,
    trigger: Trigger,
    machines: Machines,
    selected: _Selected,
    console: Console,
) -> Work:
    """Return the jobs of the selected cells, and what is known of them."""
    recorded, durations = _recorded(workspace, console)
    tests = _runs_of(workspace, trigger, "test", selected, console)
    analyses = CellRuns((), (), {})
    if ANALYSIS in workspace.matrix.flavours:
        analyses = _runs_of(workspace, trigger, "analyse", selected, console)
    runs = [*tests.runs, *analyses.runs]
    for absent in absent_submodules(workspace.root, libraries_of(runs)):
        console.warn(f"{absent.message} here; runners need it")
    basis = replace(
        basis_of(workspace, runs, _MACHINE, durations),
        baselines=baselines(workspace) if analyses.runs else "",
    )
    graphs = [*_graphs(basis, tests.runs, analyses.runs, machines, selected)]
    graph = Graph.of(job for each, _ in graphs for job in each.jobs.values())
    goals = [*dict.fromkeys(key for each, verb in graphs for key in goals_of(each, verb))]
    records = JobRecords.of_user()
    goal_jobs = [graph.jobs[key] for key in goals]
    # What failed, or has no result, runs in any case.
    good = records.good_among(goal_jobs) if trigger.rerun != "all" else ()
    return Work(
        graph,
        goals,
        selected.places,
        {cell.id: reason for cell, reason in tests.left_out},
        _affected(workspace, trigger, console),
        {job.id for job, _ in good},
        _published(workspace),
        recorded,
        makes_images=trigger.is_trusted and workspace.repository is not None,
    )


def _runs_of(
    workspace: Workspace, trigger: Trigger, verb: Verb, selected: _Selected, console: Console
) -> CellRuns:
    selection = JobSelection(verb, trigger.cells, trigger.tier, trigger.libraries)
    return cell_runs(workspace, selection, console, lambda cell: selected.places[cell.id].host)


def _graphs(
    basis: Basis,
    tests: Sequence[CellRun],
    analyses: Sequence[CellRun],
    machines: Machines,
    selected: _Selected,
) -> Iterator[tuple[Graph, Verb]]:
    """Yield the graphs of the jobs, with the verb of each: what runs beside a GPU has other ids."""
    with_gpu = replace(basis, machine=_WITH_GPU)
    of_tests = {
        id(run): machines.uses_gpu(
            run.library, run.cell, _host(run, selected), of_tests=run.cell in selected.with_gpu
        )
        for run in tests
    }
    of_analyses = {
        id(run): machines.uses_gpu(run.library, run.cell, _host(run, selected), of_tests=False)
        for run in analyses
    }
    groups: Sequence[tuple[Sequence[CellRun], Mapping[int, bool], Verb]] = (
        (tests, of_tests, "test"),
        (analyses, of_analyses, "analyse"),
    )
    for runs, uses_gpu, verb in groups:
        yield job_graph([run for run in runs if not uses_gpu[id(run)]], basis, verb), verb
        yield job_graph([run for run in runs if uses_gpu[id(run)]], with_gpu, verb), verb
    measured = [run for run in tests if _is_measured(run, machines, selected)]
    yield job_graph(measured, with_gpu, "perf"), "perf"


def _host(run: CellRun, selected: _Selected) -> str:
    return selected.places[run.cell.id].host


def _is_measured(run: CellRun, machines: Machines, selected: _Selected) -> bool:
    """Return whether a library in a cell is measured: on the machines that it requires, or where
    the tier has a GPU and a class of runners as well."""
    if not run.library.benchmark or not run.is_compiled:
        return False
    if run.measured_on != (None,):
        return True
    choice = machines.for_gpu(run.library, run.cell, _host(run, selected))
    return run.cell in selected.with_gpu and isinstance(choice, Runner)


def _affected(
    workspace: Workspace, trigger: Trigger, console: Console
) -> Mapping[tuple[str, str], str] | None:
    """Return the libraries and cells that the change of a trigger affects, with the reasons; None
    for all."""
    if trigger.base is None:
        if trigger.kind == "pull_request":
            console.warn("the base of the change is not known; all cells of the tier are planned")
        return None
    from envmatrix.app.revisions import affected_pairs, compare_revision

    try:
        diff = compare_revision(workspace, trigger.base, console)
        unknown = diff.unknown
    except ConfigurationError as error:  # the revision is not in a shallow clone
        unknown = error.message
    if unknown:
        console.warn(f"{unknown}; all cells of the tier are planned")
        return None
    pairs = affected_pairs(workspace, trigger.cells, diff)
    return {(pair.library, pair.cell): pair.reason for pair in pairs if pair.reason}


def _published(workspace: Workspace) -> Mapping[str, str]:
    """Return the digests of published images by the ids of the jobs that would make them."""
    return {
        image_job_id(image.fingerprint, arch): image.digest
        for _, _, index in workspace.published
        for arch, image in index.images.items()
    }


def _recorded(workspace: Workspace, console: Console) -> tuple[Recorded, Durations]:
    """Return the seconds of earlier jobs, and those of the newest one of each kind; nothing where
    the results store cannot be read."""
    location = Location.of(workspace.root)
    if location.is_empty:
        return {}, {}
    from envmatrix.results import queries  # SQLAlchemy

    try:
        with location.open_store(console.warn) as database, database.reading() as connection:
            times = queries.step_times(connection, _MOST_RUNS)
    except EnvmatrixError as error:
        console.warn(f"{error.message}; limits of time are those of unknown jobs")
        return {}, {}
    totals: defaultdict[tuple[str, tuple[Kind, str, str]], float] = defaultdict(float)
    for row in times:
        kind = kind_of(row.verb, row.step)
        totals[row.run, duration_key(kind, row.library, row.cell, row.part)] += row.seconds
    recorded: defaultdict[tuple[Kind, str, str], list[float]] = defaultdict(list)
    for (_, key), seconds in totals.items():  # the newest first
        recorded[key].append(seconds)
    return recorded, {key: seconds[0] for key, seconds in recorded.items()}


def write_plan(directory: Path, pipeline: Pipeline) -> None:
    """Write the document of a pipeline into a directory, if it is not there yet."""
    write_changed(directory / PLAN, document(pipeline))


def write_changed(file: Path, text: str) -> None:
    """Write a file unless it has this content."""
    if readable_text(file) != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode(), 0o644)
