"""The jobs of a plan that need not be done, by records and build directories alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from envmatrix.app.job_plan import job_images
from envmatrix.app.workspace import Workspace
from envmatrix.jobs.execution import JobResult, Prospect, goals_of, prospects
from envmatrix.jobs.expansion import JobPlan
from envmatrix.jobs.model import Job, Verb
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.matrix.variants import SEPARATOR
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecords
from envmatrix.results.records import Record
from envmatrix.sessions.build_marks import is_marked
from envmatrix.sessions.context import build_name, build_parent
from envmatrix.sessions.installation import is_present


@dataclass(frozen=True, slots=True)
class Reuse:
    """The jobs of a plan, and the results on record."""

    workspace: Workspace
    plan: JobPlan
    records: JobRecords

    def prospects(self, verb: Verb) -> Mapping[str, Prospect]:
        """Return what would become of each job of a verb. Only the engine knows which files, bases
        and images it has, so these are to do unless nothing needs them."""
        goals = goals_of(self.plan.graph, verb)
        reused = {key for key, _ in self.results(goals)}
        unmet = self.plan.unmet.keys() - reused
        compiled = self.compiled(key for key in goals if key not in reused | unmet)
        present = {*self.own_sources()}
        return prospects(self.plan.graph, goals, reused | compiled, present, unmet)

    def results(self, goals: Iterable[str]) -> Iterator[tuple[str, JobResult]]:
        """Yield the goals that succeeded with the same inputs, and their results; of compilations,
        those whose outputs are in their build directories."""
        jobs = (self.plan.graph.jobs[key] for key in goals)
        for job, good in self.records.good_among(jobs):
            if job.kind != "compile" or self._is_compiled(job):
                yield job.id, reused_result(good.record)

    def compiled(self, goals: Iterable[str]) -> set[str]:
        """Return the compilations that goals need, and whose outputs are in their directories."""
        if not (self.workspace.root / BUILD_ROOT).is_dir():
            return set()
        jobs = self.plan.graph.jobs
        return {key for key in self._compilations(goals) if self._is_compiled(jobs[key])}

    def absent(self, goals: Collection[str]) -> set[str]:
        """Return the compilations that goals need, and whose outputs are not in their
        directories."""
        return self._compilations(goals) - self.compiled(goals)

    def own_sources(self) -> Iterator[str]:
        """Yield the jobs of the sources that are in the repository."""
        own = {item.name for item in self.workspace.matrix.libraries if item.source is None}
        for job in self.plan.graph.jobs.values():
            if job.kind == "source" and job.subject[0] in own:
                yield job.id

    def _compilations(self, goals: Iterable[str]) -> set[str]:
        graph = self.plan.graph
        every = ({*graph.needed_for([key])} - {key} for key in goals)
        return {need for needs in every for need in needs if graph.jobs[need].kind == "compile"}

    def _is_compiled(self, job: Job) -> bool:
        name, cell, *_ = job.subject
        matrix, is_analysis = self.workspace.matrix, self.plan.is_analysis
        compiler, *_ = job_images(matrix.by_id[cell], is_analysis=is_analysis)
        parent = build_parent(self.workspace.root, cell, name)
        directory = build_name(compiler, host_arch())
        is_installed = name.partition(SEPARATOR)[0] in matrix.installed
        is_marked_here = is_marked(parent, directory, job.id)
        return is_marked_here and (not is_installed or is_present(parent, directory))


def reused_result(record: Record) -> JobResult:
    """Return the result of a job that is on record."""
    return JobResult("reused", seconds=record.end.seconds, counts=record.counts)
