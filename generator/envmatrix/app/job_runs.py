"""Runs the jobs that compile and test libraries in many cells; none runs again that succeeded with
the same inputs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

from envmatrix.app.job_budget import plan_within
from envmatrix.app.job_execution import Observer, execute
from envmatrix.app.job_materials import without_present
from envmatrix.app.job_plan import JobSelection, job_images, plan_jobs, with_unmet
from envmatrix.app.job_reuse import Reuse
from envmatrix.app.job_work import JobWork
from envmatrix.app.library_runs import keep_results
from envmatrix.app.places import Images, Place, open_place
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus
from envmatrix.executors.outputs import Outputs, open_outputs
from envmatrix.files import readable_text, write_whole
from envmatrix.images.model import library_image
from envmatrix.jobs.budget import NO_LIMIT, Budget
from envmatrix.jobs.execution import Execution, JobResult, JobState, Report, goals_of, remaining
from envmatrix.jobs.expansion import JobPlan
from envmatrix.jobs.model import Graph, Job, Verb
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.configuration import configured_jobs, user_configuration
from envmatrix.machine.remedies import explained
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecords
from envmatrix.results.passed_jobs import PassedJobs
from envmatrix.sessions.junit import write_suites
from envmatrix.sessions.outcomes import State, TestOutcome

# Which jobs run although their result is on record: none, those that failed and no others, or all.
Rerun = Literal["none", "failed", "all"]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How jobs run: at most `most` at once, until the first failure if `fails_fast`; which run
    again; the part (0 to 1) of those with a good result that runs again to check it; and the
    budget of those that run. `place` is the word for where they run, None for this machine. Jobs
    `anew` run whatever is known of them; outputs that are `supplied` are fetched, never made."""

    most: int | None = None
    fails_fast: bool = False
    rerun: Rerun = "none"
    checked: float = 0.0
    budget: Budget = NO_LIMIT
    place: str | None = None
    anew: Collection[str] = ()
    supplied: Collection[str] = ()


def users_outputs() -> AbstractContextManager[Outputs | None]:
    """Open the place of outputs in the user's configuration, if there is one."""
    where = configured_jobs(user_configuration()).outputs
    return open_outputs(where) if where else nullcontext()


@dataclass(frozen=True, slots=True)
class JobRuns:
    """The jobs of a plan, their results on record, and the places where they run and where their
    outputs are kept."""

    workspace: Workspace
    plan: JobPlan
    records: JobRecords
    place: Place
    outputs: Callable[[], AbstractContextManager[Outputs | None]] = users_outputs

    @property
    def reuse(self) -> Reuse:
        return Reuse(self.workspace, self.plan, self.records)

    def run(
        self,
        verb: Verb,
        options: JobOptions,
        today: date,
        console: Console,
        observe: Callable[[Execution], Observer],
    ) -> tuple[Mapping[str, JobResult], bool]:
        """Do the jobs of a verb; return what became of each, and whether they were interrupted."""
        goals = self._goals(verb, options.rerun)
        results = {} if options.rerun != "none" else dict(self.reuse.results(goals))
        checked = _sample([*results], options.checked)
        for key in (*checked, *options.anew):
            results.pop(key, None)
        results |= self._impossible(goals, results)
        anew = {*self.plan.graph.jobs} if options.rerun == "all" else {*checked, *options.anew}
        compiled = self.reuse.compiled(goals) - anew if self.place.trusts_builds else ()
        present = {*self.reuse.own_sources(), *compiled}
        left = remaining(self.plan.graph, goals, {*results, *present})
        images = self._images(left, console)
        left, present = without_present(left, images.actions, self.workspace)
        left = remaining(left, (key for key in goals if key in left.jobs), present)
        if options.budget.is_limited:
            left, postponed = self._within(options.budget, left, goals, console)
            results |= postponed
        execution = Execution(left, self.plan.machine, options.most, fails_fast=options.fails_fast)
        with self.outputs() as outputs:
            work = JobWork(
                self.workspace,
                self.plan,
                self.place,
                images,
                self.records,
                outputs,
                today,
                anew,
                options.supplied,
            )
            is_interrupted = execute(execution, work.do, observe(execution))
        if left.jobs:
            keep_results(self.workspace, console)
        results |= execution.results
        for key, result in results.items():
            results[key] = self._completed(key, result, is_checked=key in checked)
        return results, is_interrupted

    def suites(
        self, results: Mapping[str, JobResult]
    ) -> Iterator[tuple[str, Sequence[TestOutcome]]]:
        """Yield the tests of each job, by its name; the job itself where no tests are known."""
        for key, result in results.items():
            job = self.plan.graph.jobs[key]
            stored = self.records.find(job) if job.kind in ("test", "step") else None
            is_known = result.state not in ("left out", "interrupted", "postponed")
            is_known = is_known and key not in self.plan.unmet
            outcomes = stored.record.outcomes if stored and is_known else ()
            yield str(job), outcomes or (_outcome_of(job, result),)

    def _within(
        self, budget: Budget, left: Graph, goals: Sequence[str], console: Console
    ) -> tuple[Graph, Mapping[str, JobResult]]:
        """Return the most valuable jobs of those that are left, and the others as results."""
        chosen = [key for key in goals if key in left.jobs]
        plan = replace(self.plan, graph=left)
        plan, selection = plan_within(budget, plan, chosen, self.workspace, console)
        others = {
            choice.job.id: JobResult("postponed", message=choice.reason)
            for choice in selection.left_out
        }
        return plan.graph, others

    def _goals(self, verb: Verb, rerun: Rerun) -> Sequence[str]:
        goals = goals_of(self.plan.graph, verb)
        if rerun != "failed":
            return goals
        failed = readable_text(self._failed_jobs).splitlines()
        return [key for key in goals if str(self.plan.graph.jobs[key]) in failed]

    @property
    def _failed_jobs(self) -> Path:
        """The file with the names of the jobs that did not succeed when they were last to be
        done, whatever their inputs were then."""
        return self.workspace.location.failed_jobs

    def write_results(self, results: Mapping[str, JobResult]) -> None:
        """Write the JUnit file, and note which jobs failed."""
        write_suites(self.workspace.root / BUILD_ROOT / "junit.xml", self.suites(results))
        names = {*readable_text(self._failed_jobs).splitlines()}
        for key, result in results.items():
            name = str(self.plan.graph.jobs[key])
            if result.is_bad:
                names.add(name)
            elif result.state != "postponed":
                names.discard(name)
        text = "".join(f"{name}\n" for name in sorted(names))
        if text != readable_text(self._failed_jobs):
            self.workspace.location.prepare()
            write_whole(self._failed_jobs, text.encode())

    def record_reused(self, results: Mapping[str, JobResult], console: Console) -> None:
        """Record reused results of goals as runs of this repository, unless its reports have
        them."""
        passed = PassedJobs(self.workspace.location)
        ids = passed.ids
        reused = (
            self.plan.graph.jobs[key] for key, result in results.items() if result.state == "reused"
        )
        good = ((job, self.records.good(job)) for job in reused if ids.get(str(job)) != job.id)
        if records := {job: stored.record for job, stored in good if stored}:
            passed.record(records)
            keep_results(self.workspace, console)

    def _impossible(
        self, goals: Iterable[str], results: Collection[str]
    ) -> Mapping[str, JobResult]:
        """Return the results of jobs for which the place lacks what they require, and of
        measurements without a GPU: they are skipped, before anything is built for them."""
        jobs, left = self.plan.graph.jobs, [key for key in goals if key not in results]
        reasons = {key: self.plan.unmet[key] for key in left if key in self.plan.unmet}
        unplaced = [
            key for key in left if jobs[key].kind == "measure" and not jobs[key].requirement
        ]
        gpu = self.place.choose_gpu() if unplaced else None
        if gpu is not None and not isinstance(gpu, Gpus):
            reasons |= dict.fromkeys(unplaced, gpu.reason)
        return {key: JobResult("skipped", message=reason) for key, reason in reasons.items()}

    def _completed(self, key: str, result: JobResult, *, is_checked: bool) -> JobResult:
        """Return a result with the numbers of failed tests, and with the contradiction if the job
        passed before."""
        stored = self.records.find(self.plan.graph.jobs[key]) if result.state == "failed" else None
        if stored:
            result = replace(result, counts=stored.record.counts)
        return _compared(result) if is_checked else result

    def _images(self, graph: Graph, console: Console) -> Images:
        """Return the images that jobs need, and what to do so that they are there."""
        jobs = (job for job in graph.jobs.values() if len(job.subject) > 1)
        runs = {(job.subject[1], job.subject[0]) for job in jobs}
        matrix = self.workspace.matrix
        libraries = {library.name: library for library in matrix.variants}
        images = (
            library_image(image, libraries[library], matrix.by_id[cell], matrix)
            for cell, library in sorted(runs)
            for image in job_images(matrix.by_id[cell], is_analysis=self.plan.is_analysis)
        )
        required = [*dict.fromkeys(images)]
        return self.place.images(self.workspace, required, console) if required else Images({})


def run_jobs(
    workspace: Workspace,
    selection: JobSelection,
    options: JobOptions,
    today: date,
    console: Console,
    observe: Callable[[Execution], Observer],
) -> Report:
    """Do the selected jobs, and write their JUnit file."""
    started = time.monotonic()
    with open_place(options.place) as place:
        plan = plan_jobs(
            workspace, selection, place.resources(), console, assigns_gpus=place.assigns_gpus
        )
        plan = with_unmet(plan, workspace.matrix, place)
        runs = JobRuns(workspace, plan, JobRecords.of_user(), place)
        results, is_interrupted = runs.run(selection.verb, options, today, console, observe)
    goals = goals_of(plan.graph, selection.verb)
    try:
        runs.write_results(results)
        runs.record_reused({key: results[key] for key in goals if key in results}, console)
    except OSError as error:  # as of a checkout that is read-only
        console.warn(f"results are not written: {explained(error, cache_directory())}")
    cells = {cell.id: reason for cell, reason in plan.left_out}
    reused = [key for key in goals if key in results and results[key].state == "reused"]
    absent = runs.reuse.absent(reused)
    seconds = time.monotonic() - started
    return Report(plan.graph.jobs, results, cells, seconds, is_interrupted, goals, absent)


_OUTCOMES: Mapping[JobState, State] = {
    "reused": "passed",
    "done": "passed",
    "waived": "passed",
    "flaky": "flaky",
    "failed": "errored",
    "skipped": "skipped",
    "postponed": "skipped",
    "left out": "skipped",
    "interrupted": "killed",
}


def _outcome_of(job: Job, result: JobResult) -> TestOutcome:
    """Return a job as a test."""
    return TestOutcome(job.kind, _OUTCOMES[result.state], result.seconds, result.message)


def _sample(keys: Sequence[str], part: float) -> set[str]:
    """Return a part of `keys`, at random, and at least one if the part is above 0."""
    count = min(len(keys), max(1, round(part * len(keys)))) if part else 0
    return set(random.sample(keys, count))


def _compared(result: JobResult) -> JobResult:
    """Return the result of a job that passed before, with the contradiction if there is one."""
    if result.state not in ("failed", "flaky", "waived"):
        return result
    message = "; ".join(filter(None, ("it passed before with the same inputs", result.message)))
    return replace(result, state="failed", message=message)
