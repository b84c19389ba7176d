"""The work of one job of a pipeline on this machine, with what the jobs that it needs left."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

from envmatrix.app.host_health import require_engine
from envmatrix.app.images import provide_images
from envmatrix.app.job_execution import Observer
from envmatrix.app.job_plan import JobSelection, plan_jobs, with_unmet
from envmatrix.app.job_runs import JobOptions, JobRuns, users_outputs
from envmatrix.app.pipeline_files import HINT_OF_REVISION, OUTPUTS, RECORDS, PipelineFiles
from envmatrix.app.places import Images, Place, ThisMachine
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import (
    Absent,
    ConfigurationError,
    EngineError,
    EnvmatrixError,
    NothingSelected,
    OutOfDate,
)
from envmatrix.executors.outputs import (
    DirectoryOutputs,
    Outputs,
    SeveralOutputs,
    outputs_file,
    status_of,
)
from envmatrix.files import open_regular
from envmatrix.images.model import (
    Image,
    analysis_image,
    can_compile_on,
    images_of,
    images_with_libraries,
    lacks_cross,
)
from envmatrix.jobs.execution import Execution, JobResult
from envmatrix.jobs.expansion import JobPlan
from envmatrix.jobs.model import VERB_OF, Job, Kind, Verb
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.requirements import Requirement
from envmatrix.pipeline.model import PipelineJob, Runner
from envmatrix.pipeline.verdict import mismatch
from envmatrix.plan.actions import Action
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecord, JobRecords
from envmatrix.results.location import Location
from envmatrix.sessions.analysis.running import SARIF
from envmatrix.sessions.context import build_parent
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.junit import write_suites

JUNIT, LOGS = "junit.xml", "logs"
# The private key that signs images, where no identity does.
SIGNING_KEY = "ENVMATRIX_CI_SIGNING_KEY"
# The verbs whose graphs may have a job of a kind.
_VERBS: Mapping[Kind, Sequence[Verb]] = {
    "image": ("test", "analyse"),
    "compile": ("test", "analyse", "perf"),
    "test": ("test",),
    "step": ("test",),
    "analyse": ("analyse",),
    "measure": ("perf",),
}
_SHARD = re.compile(r".* \d{1,9}/(\d{1,9})")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Which attempt at a job this is, the date, which decides on waivers, and who watches."""

    attempt: int
    today: date
    console: Console
    observe: Callable[[Execution], Observer]


class RunnerPlace(ThisMachine):
    """This machine as a runner of a class, with the images whose digests a plan names."""

    retries_tasks = False
    trusts_builds = False

    def __init__(self, runner: Runner, digests: Mapping[str, str | None]) -> None:
        self._runner = runner
        self._digests = digests

    def choose_gpu(
        self, requirement: Requirement | None = None, *, device: str | None = None
    ) -> Gpus | NoGpu:
        if not self._runner.gpus:
            return NoGpu(f"runners of the class `{self._runner.name}` have no GPU")
        return super().choose_gpu(requirement, device=device)

    def images(self, workspace: Workspace, required: Sequence[Image], console: Console) -> Images:
        images = super().images(workspace, required, console)
        actions = [self._as_planned(action, workspace) for action in images.actions]
        return replace(images, actions=actions)

    def _as_planned(self, action: Action, workspace: Workspace) -> Action:
        """Return the action that pulls an image by the digest of the plan, if it has one and the
        engine lacks the image. Raise Absent if the registry lacks it."""
        image = str(action.inputs.image)
        digest, repository = self._digests.get(image), workspace.repository
        if action.verb == "reuse" or not digest or not repository:
            return action
        from envmatrix.registry.client import open_registry

        with open_registry(repository) as remote:
            if remote.digest(digest) is None:
                message = f"`{repository}` does not have `{image}`, which the plan names {digest}"
                raise Absent(message, hint="publish it again: `envmatrix push`; then plan again")
        return replace(action, verb="pull", published=f"{repository}@{digest}", rebuild=False)


@dataclass(frozen=True, slots=True)
class PipelineWork:
    """The work of a job of a pipeline on this machine. What it leaves is in the directory of the
    job, and nowhere else."""

    workspace: Workspace
    files: PipelineFiles
    job: PipelineJob
    options: RunOptions

    @property
    def _directory(self) -> Path:
        return self.files.of_job(self.job.id)

    @property
    def _is_trusted(self) -> bool:
        return self.files.pipeline.trigger.is_trusted

    @property
    def _own_workspace(self) -> Workspace:
        """The workspace whose results are in the directory of the job. Durations, which jobs are
        not planned with again, are in the plan."""
        location = Location(self._directory, None)
        return replace(self.workspace, results=location, is_trusted=self._is_trusted)

    def do(self) -> JobResult:
        """Do the job; KeyboardInterrupt where it was interrupted."""
        runner = self.files.pipeline.runners[self.job.runner]
        if runner.arch != host_arch():
            message = f"the class `{runner.name}` is for {runner.arch}, and this runner"
            hint = "see its labels under `ci: runners:` of matrix.yaml"
            raise EngineError(f"{message} is {host_arch()}", hint=hint)
        require_engine()
        place = RunnerPlace(runner, self.job.images)
        plan = self.planned(runner, place)
        if self.job.kind == "image":
            return self._publish(plan.graph.jobs[self.job.id])
        if reason := with_unmet(plan, self.workspace.matrix, place).unmet.get(self.job.id):
            raise EngineError(f"this runner is not as its class `{runner.name}` says: {reason}")
        return self._run(plan, place)

    def planned(self, runner: Runner, place: Place) -> JobPlan:
        """Plan the job again, with what it needs; raise OutOfDate if it is not the same here."""
        machine = place.resources()
        if runner.gpus and not machine.gpus:
            raise EngineError(f"this runner of the class `{runner.name}` has no GPU for containers")
        machine = machine._replace(gpus=machine.gpus if runner.gpus else 0)
        for selection in self._selections():
            try:
                plan = plan_jobs(self._own_workspace, selection, machine, self.options.console)
            except NothingSelected:
                continue
            if self.job.id in plan.graph.jobs:
                return replace(plan, graph=plan.graph.of_goals([self.job.id]))
        message = f"`{self.job.name}` has other inputs in this checkout than in the plan"
        raise OutOfDate(message, hint=HINT_OF_REVISION)

    def _selections(self) -> Iterator[JobSelection]:
        """Yield the selections that may have the job: of the libraries that need it in its cell, in
        the tier of the plan before all others."""
        matrix, job = self.workspace.matrix, self.job
        cells = [cell.id for cell in matrix.cells if job.cell in (cell.id, cell.environment)]
        libraries, tiers = self._libraries(), (self.files.pipeline.trigger.tier, None)
        match = _SHARD.fullmatch(job.name) if job.kind == "test" else None
        for verb in _VERBS[job.kind]:
            names = [
                library.name
                for library in matrix.variants
                if library.name in libraries and (verb != "perf" or library.benchmark)
            ]
            if cells and (names or job.kind == "image"):
                for tier in dict.fromkeys(tiers):
                    yield JobSelection(
                        verb, cells, tier, names, shards=int(match[1]) if match else None
                    )

    def _libraries(self) -> set[str]:
        """Return the libraries of the job and of those that need it; none of an image, which any
        library may need."""
        if self.job.kind == "image":
            return set()
        needing = {self.job.id}
        for other in self.files.pipeline.jobs:
            if needing & {*other.needs}:
                needing.add(other.id)
        return {self.files.pipeline.by_id[key].library for key in needing}

    def _publish(self, job: Job) -> JobResult:
        """Pull or build an image, and publish it."""
        from envmatrix.app.published_images import publish_image

        if not self._is_trusted:
            raise ConfigurationError("a pipeline that is not trusted publishes no image")
        workspace, console = self.workspace, self.options.console
        image = next(image for image in self._images() if str(image) in job.subject)
        provide_images(workspace, [image], console)
        cosign = None
        if workspace.signer:
            from envmatrix.publishing.cosign import Cosign

            cosign = Cosign(workspace.signer, workspace.root, os.environ.get(SIGNING_KEY))
        publish_image(workspace, image, cosign, console)
        return JobResult("done")

    def _images(self) -> Iterator[Image]:
        """Yield the images of the environment that this machine can make."""
        matrix = self.workspace.matrix
        for cell in matrix.cells:
            if cell.environment == self.job.cell:
                images = [analysis_image(cell)] if matrix.has_analysis(cell) else []
                if can_compile_on(cell, host_arch()) and not lacks_cross(cell, host_arch()):
                    images += images_of(cell, host_arch())
                yield from images_with_libraries(cell, images, matrix)

    def _run(self, plan: JobPlan, place: ThisMachine) -> JobResult:
        """Run the job with the results of the jobs that it needs."""
        supplied = self._supplied(plan)
        workspace = self._own_workspace
        records = self._records()
        runs = JobRuns(workspace, plan, records, place, self._outputs)
        key, verb = self.job.id, VERB_OF[self.job.kind]
        # A compilation that is known is no use: others need its outputs from here.
        anew = (key,) if self.job.kind == "compile" else ()
        options = JobOptions(anew=anew, supplied=supplied)
        before = self._written()
        today, console = self.options.today, self.options.console
        results, is_interrupted = runs.run(verb, options, today, console, self.options.observe)
        if is_interrupted:
            raise KeyboardInterrupt
        result = _end_of(plan.graph.jobs[key], plan, results)
        if result.state == "reused":
            job = plan.graph.jobs[key]
            runs.record_reused({key: result}, console)
            if stored := records.good(job):
                records.keep(job, stored.record.parts, stored.outputs)
        if self.job.kind == "compile" and self._is_trusted:
            self._share(records.good(plan.graph.jobs[key]))
        write_suites(self._directory / JUNIT, runs.suites({key: result}))
        self._copy_written(before)
        return result

    def _records(self) -> JobRecords:
        """Return the records of the jobs that this one needs, and those that this user trusts
        unless the pipeline runs everything again; results go to the directory of the job."""
        needs = [self.files.of_job(need) / RECORDS for need in self.job.needs]
        own, user = self._directory / RECORDS, JobRecords.of_user()
        if self.files.pipeline.trigger.rerun == "all":
            return JobRecords(own, supplied=needs)
        return JobRecords(own, user.trusted, user.key, [*needs, user.own])

    @contextmanager
    def _outputs(self) -> Iterator[Outputs]:
        needs = [DirectoryOutputs(self.files.of_job(need) / OUTPUTS) for need in self.job.needs]
        with users_outputs() as shared:
            others: list[Outputs] = [*needs, *([shared] if shared else [])]
            yield SeveralOutputs(DirectoryOutputs(self._directory / OUTPUTS), others)

    def _share(self, record: JobRecord | None) -> None:
        """Keep the outputs of a compilation where this user keeps outputs, for later pipelines."""
        digests = record.outputs.split() if record else ()
        try:
            with users_outputs() as shared:
                if shared is None:
                    return
                for digest in digests:
                    file = outputs_file(self._directory / OUTPUTS, digest.removeprefix("sha256:"))
                    shared.keep(file, digest)
        except (EnvmatrixError, OSError) as error:
            self.options.console.warn(f"later pipelines do not have the outputs: {error}")

    def _supplied(self, plan: JobPlan) -> set[str]:
        """Return the compilations whose outputs the pipeline gives to this job. Raise where one is
        missing or damaged: compiling it again would hide that."""
        needs = (self.files.pipeline.by_id[key] for key in self.job.needs)
        compilations = [need for need in needs if need.kind == "compile"]
        to_do = [need for need in compilations if need.prospect == "to do"]
        return {need.id for need in to_do if self._is_supplied(need, plan.graph.jobs[need.id])}

    def _is_supplied(self, need: PipelineJob, job: Job) -> bool:
        """Return whether a job left outputs, if it has any; EngineError where they are missing."""
        pipeline, lacking = self.files.pipeline, f"`{need.name}`, which it needs,"
        where = f"see `{self.files.of_job(need.id)}`, where the engine has to put what it left"
        try:
            outcome = self.files.outcome(need.id)
        except ConfigurationError as error:
            raise EngineError(f"{lacking} left a damaged outcome: {error.message}") from error
        if outcome is None:
            raise EngineError(f"{lacking} left no outcome on this machine", hint=where)
        if problem := mismatch(outcome, need, pipeline.revision, self.files.digest):
            raise EngineError(f"{lacking} is not of this pipeline: {problem}", hint=where)
        match outcome.state:
            case "failed":
                raise EnvmatrixError(f"{lacking} failed: {outcome.message}")
            case "infrastructure":
                raise EngineError(f"{lacking} did not run: {outcome.message}")
            case "skipped":
                raise Skipped(f"{lacking} was skipped: {outcome.message}")
        if not job.is_reusable:
            return False
        stored = JobRecords(self.files.of_job(need.id) / RECORDS).good(job)
        if stored is None:
            raise EngineError(f"{lacking} left no record, or a damaged one", hint=where)
        outputs = self.files.of_job(need.id) / OUTPUTS
        for digest in stored.outputs.split():
            if status_of(outputs_file(outputs, digest.removeprefix("sha256:"))) is None:
                raise EngineError(f"{lacking} left no outputs {digest}", hint=where)
        return bool(stored.outputs)

    def _written(self) -> Mapping[Path, int]:
        """Return the logs and findings of the library in the cell, and when each was written."""
        directory = build_parent(self.workspace.root, self.job.cell, self.job.library)
        files = (*directory.glob("*.log"), directory / SARIF)
        return {file: file.lstat().st_mtime_ns for file in files if file.is_file()}

    def _copy_written(self, before: Mapping[Path, int]) -> None:
        """Copy the logs and findings of this job beside its outcome."""
        for file, written in self._written().items():
            if before.get(file) != written:
                target = self._directory / ("" if file.name == SARIF else LOGS) / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with open_regular(file) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)


def _end_of(job: Job, plan: JobPlan, results: Mapping[str, JobResult]) -> JobResult:
    """Return the end of a job; that of the one that it needed and that failed, if it did not
    start. What was compiled for it, because nothing had its outputs, is said."""
    result = results[job.id]
    if result.state == "left out":
        key, cause = next(item for item in results.items() if item[1].state == "failed")
        message = f"`{plan.graph.jobs[key]}` failed: {cause.message}"
        return replace(cause, message=message)
    compiled = [
        f"`{plan.graph.jobs[key]}` was done here: nothing had its outputs"
        for key, other in results.items()
        if key != job.id and plan.graph.jobs[key].kind == "compile" and other.state == "done"
    ]
    return replace(result, message="; ".join(filter(None, (result.message, *compiled))))
