"""The pipeline of a matrix: which jobs of the graph a CI engine does, where, and how long at most.
Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property

from envmatrix.jobs.model import Graph, Job, Kind
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.pipeline import timeouts
from envmatrix.pipeline.machines import Machines
from envmatrix.pipeline.model import (
    STAGE_OF,
    STAGES,
    Pipeline,
    PipelineJob,
    Prospect,
    Runner,
    Trigger,
)
from envmatrix.records import dataclass

PASSED = "it passed with the same inputs"

# Seconds of earlier jobs by kind, library, and cell, to which the words are added that tell a job
# from others there.
Recorded = Mapping[tuple[Kind, str, str], Sequence[float]]


@dataclass(frozen=True, slots=True)
class CellPlace:
    """The machines of the architecture `host` (Docker's name) that do the jobs of a cell, the first
    tier that has the cell, and the reason why it is selected."""

    host: str
    tier: str
    reason: str


@dataclass(frozen=True)
class Work:
    """The jobs of the selected cells, and what is known of them.

    Attributes:
        graph: the jobs that there could be.
        goals: the ids of those that all others are for.
        cells: where and why the jobs of each cell run.
        left_out: the cells that no machine does jobs in, with the reason.
        affected: the libraries in cells that a change reaches, with the reason; None for all.
        reused: the goals that have a good result on record.
        published: the digests of published images by the ids of their jobs.
        recorded: the seconds of earlier jobs.
        makes_images: whether images are built and published for others.
    """

    graph: Graph
    goals: Sequence[str]
    cells: Mapping[str, CellPlace]
    left_out: Mapping[str, str] = field(default_factory=dict)
    affected: Mapping[tuple[str, str], str] | None = None
    reused: Collection[str] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=dict)
    makes_images: bool = False


def plan_pipeline(
    work: Work, matrix: Matrix, runners: Mapping[str, Runner], trigger: Trigger, revision: str
) -> Pipeline:
    """Return the pipeline of some work for a revision on classes of runners."""
    if work.affected is None or not work.goals:
        trigger = replace(trigger, base=None)
    planning = _Planning(work, matrix, Machines(matrix, runners))
    jobs = sorted(planning.jobs(), key=lambda job: STAGES.index(job.stage))
    return Pipeline(revision, trigger, (*jobs,), runners, work.left_out, planning.saved)


@dataclass(frozen=True)
class _Planning:
    work: Work
    matrix: Matrix
    machines: Machines

    @cached_property
    def _libraries(self) -> Mapping[str, Library]:
        return {library.name: library for library in self.matrix.variants}

    @cached_property
    def _goals(self) -> Sequence[str]:
        """The goals that changes affect."""
        work = self.work
        return [
            key
            for key in work.goals
            if work.affected is None or _place(work.graph.jobs[key]) in work.affected
        ]

    @cached_property
    def _skipped(self) -> Mapping[str, str]:
        """The goals that no class of runners can do, with the reason."""
        reasons = {}
        for key in self._goals:
            if key not in self.work.reused and (reason := self._reason_against(key)):
                reasons[key] = reason
        return reasons

    def _reason_against(self, key: str) -> str | None:
        """Return why no class does a job, or a compilation that it needs; None if all are done."""
        jobs = self.work.graph.jobs
        needs = (jobs[need] for need in jobs[key].needs)
        for job in (jobs[key], *(need for need in needs if need.kind == "compile")):
            runner = self._runner(job)
            if isinstance(runner, str):
                return runner
        return None

    @cached_property
    def _left(self) -> Collection[str]:
        """The goals that are done, and what they need, each after its needs."""
        work = self.work
        goals = [key for key in self._goals if key not in work.reused and key not in self._skipped]
        return dict.fromkeys(work.graph.needed_for(goals))

    @cached_property
    def _listed(self) -> Collection[str]:
        """The jobs of the pipeline in their order."""
        members = {*self._goals, *self._left}
        return dict.fromkeys(
            key
            for key, job in self.work.graph.jobs.items()
            if key in members and job.kind in STAGE_OF and (job.kind != "image" or self._makes(job))
        )

    def _makes(self, image: Job) -> bool:
        return self.work.makes_images and image.id not in self.work.published

    @property
    def saved(self) -> float:
        """The expected seconds of what is reused or not affected, and of the compilations that only
        that needs."""
        graph, affected = self.work.graph, self.work.affected
        spared = [key for key in self._goals if key in self.work.reused]
        if affected is not None:
            rows = ((key, _place(graph.jobs[key])) for key in self.work.goals)
            spared += [key for key, place in rows if place not in affected]
        return sum(
            graph.jobs[key].seconds
            for key in graph.needed_for(spared)
            if graph.jobs[key].kind in STAGE_OF
            and graph.jobs[key].kind != "image"
            and key not in self._left
        )

    def jobs(self) -> Iterator[PipelineJob]:
        """Yield the jobs, each after those that it needs."""
        for key in self._listed:
            yield self._job(self.work.graph.jobs[key])

    def _job(self, job: Job) -> PipelineJob:
        is_image = job.kind == "image"
        library, cell = ("", job.subject[0].partition(":")[0]) if is_image else _place(job)
        prospect, reason = self._prospect(job)
        runner = self._runner(job)
        images = self._images(job)
        return PipelineJob(
            job.id,
            str(job),
            job.kind,
            STAGE_OF[job.kind],
            library,
            cell,
            tuple(need for need in job.needs if need in self._listed),
            runner.name if isinstance(runner, Runner) else "",
            self._minutes(job),
            "" if is_image else self.work.cells[cell].tier,
            reason,
            job.command,
            prospect,
            {self._subject(key): self.work.published.get(key) for key in images},
        )

    def _subject(self, key: str) -> str:
        return self.work.graph.jobs[key].subject[0]

    def _prospect(self, job: Job) -> tuple[Prospect, str]:
        """Return what becomes of a job, and why."""
        if job.id in self._skipped:
            return "skipped", self._skipped[job.id]
        if job.id not in self._left:
            return "reused", PASSED
        if job.kind == "image":
            return "to do", "it is not published"
        affected, place = self.work.affected, _place(job)
        if affected is None:
            return "to do", self.work.cells[place[1]].reason
        return "to do", affected.get(place, "what needs it is affected")

    def _images(self, job: Job) -> Sequence[str]:
        """Return the ids of the images that a job uses; an image job is its own."""
        if job.kind == "image":
            return [job.id]
        return [need for need in job.needs if self.work.graph.jobs[need].kind == "image"]

    def _minutes(self, job: Job) -> int:
        missing = (
            key
            for key in self._images(job)
            if key not in self.work.published and (key == job.id or key not in self._listed)
        )
        return timeouts.limit(self._recorded(job), sum(map(self._building, missing)))

    def _building(self, key: str) -> float:
        """Return the expected seconds of a job and of all that it needs."""
        seconds = self._seconds.get(key)
        if seconds is None:
            job = self.work.graph.jobs[key]
            seconds = self._seconds[key] = job.seconds + sum(map(self._building, job.needs))
        return seconds

    @cached_property
    def _seconds(self) -> dict[str, float]:
        return {}

    def _recorded(self, job: Job) -> Sequence[float]:
        """Return the seconds of the same job before, or those of its library in other cells."""
        if job.kind == "image":
            return ()
        library, *words = job.subject
        own = self.work.recorded.get((job.kind, library, " ".join(words)))
        return own or self._recorded_of_libraries.get((job.kind, library), ())

    @cached_property
    def _recorded_of_libraries(self) -> Mapping[tuple[Kind, str], Sequence[float]]:
        rows: dict[tuple[Kind, str], list[float]] = {}
        for (kind, library, _), seconds in self.work.recorded.items():
            rows.setdefault((kind, library), []).extend(seconds)
        return rows

    def _runner(self, job: Job) -> Runner | str:
        """Return the class that does a job, or the reason why there is none."""
        if job.id not in self._runners:
            self._runners[job.id] = self._chosen(job)
        return self._runners[job.id]

    @cached_property
    def _runners(self) -> dict[str, Runner | str]:
        return {}

    def _chosen(self, job: Job) -> Runner | str:
        if job.kind == "image":
            arch = job.subject[0].rpartition("-")[2]
            runner = self.machines.for_processors(arch, job.resources.memory)
            if isinstance(runner, Runner):
                return runner
            others = (self.machines.for_processors(each, 0) for each in self._arches)
            return next((row for row in others if isinstance(row, Runner)), runner)
        library, cell = _place(job)
        host = self.work.cells[cell].host
        of_library = self._libraries[library], self.matrix.by_id[cell], host
        if job.requirement:
            return self.machines.for_requirement(job.requirement, *of_library)
        if job.resources.gpus:
            return self.machines.for_gpu(*of_library)
        return self.machines.for_processors(host, job.resources.memory)

    @property
    def _arches(self) -> Collection[str]:
        return dict.fromkeys(row.arch for row in self.machines.runners.values())


def _place(job: Job) -> tuple[str, str]:
    """Return the library and the cell of a job."""
    return job.subject[0], job.subject[1]
