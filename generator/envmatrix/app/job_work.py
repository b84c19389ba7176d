"""The work of jobs on this machine: downloads, bases, images, sources, compilations, tests,
measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from datetime import date
from functools import cached_property
from typing import TypeVar, cast

from envmatrix.app import library_sources
from envmatrix.app.analysis import AnalysisOptions, analyse_recorded
from envmatrix.app.cell_session import CellSession, compiler_cache_of
from envmatrix.app.compilation import compile_recorded, source_state
from envmatrix.app.images import fetch_files, make_base, provide
from envmatrix.app.job_plan import job_images, source_identities
from envmatrix.app.job_reuse import reused_result
from envmatrix.app.library_runs import WHOLE, Part, locked_build, recorded_run
from envmatrix.app.measurement import measure_recorded
from envmatrix.app.places import Images, Place
from envmatrix.app.steps import step_recorded
from envmatrix.app.testing import TestOptions, judge, test_recorded
from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.errors import Cancelled, EngineError, EnvmatrixError
from envmatrix.executors.outputs import Outputs, keep_outputs, restore_outputs
from envmatrix.jobs.execution import JobResult, JobState
from envmatrix.jobs.expansion import JobPlan, compilers
from envmatrix.jobs.model import VERB_OF, Job
from envmatrix.lock.model import source_set
from envmatrix.matrix.library import Library
from envmatrix.plan.actions import Action
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecords
from envmatrix.results.passed_jobs import PassedJobs
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import End
from envmatrix.results.waivers import Waiver, load_waivers
from envmatrix.sessions.build_marks import forget, is_marked, mark
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.installation import is_present, note_restored
from envmatrix.sessions.outcomes import State
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.testing import TestRequest, TestRun

T = TypeVar("T")

# What becomes of a job whose run ended in a state without raising an error: one with failures has
# a waiver for each.
_STATES: Mapping[State, JobState] = {"passed": "done", "flaky": "flaky", "failed": "waived"}
_CHANGED = "its source changed meanwhile: the result is not reused"


@dataclass(frozen=True)
class JobWork:
    """The work of the jobs of a plan, in a place that has these `images`, or will have; `today`
    decides which waivers have expired; `anew` are jobs that run even if their result is known, and
    `supplied` are compilations whose outputs are there: they are fetched, never made."""

    workspace: Workspace
    plan: JobPlan
    place: Place
    images: Images
    records: JobRecords
    outputs: Outputs | None
    today: date
    anew: Collection[str] = ()
    supplied: Collection[str] = ()
    # The states of sources, by library, in which a job found them as planned from start to end.
    planned_states: set[tuple[str, str]] = field(default_factory=set)

    def do(self, job: Job, console: Console) -> JobResult:
        """Do the work of a job; return its result, without its times. Failures are raised."""
        match job.kind:
            case "download":
                (key,) = job.subject
                fetch_files(self.workspace, key, console)
                return JobResult("done")
            case "base":
                (key,) = job.subject
                make_base(self.workspace, key, console)
                return JobResult("done")
            case "image":
                (name,) = job.subject
                provide(self.workspace, [self._actions[name]], 1, console)
                return JobResult("done")
            case "source":
                (name,) = job.subject
                if self._libraries[name].source is not None:
                    locked = self.workspace.lock.sets[source_set(self._libraries[name])]
                    library_sources.source_tree(locked, console)
                library_sources.fetch_archives(self.workspace, self._libraries[name], console)
                return JobResult("done")
            case "compile":
                return self._compile(job, console)
            case "test":
                return self._test(job, console)
            case "step":
                return self._step(job, console)
            case "analyse":
                return self._analyse(job, console)
            case "measure":
                return self._measure(job, console)

    @cached_property
    def _actions(self) -> Mapping[str, Action]:
        return {str(action.inputs.image): action for action in self.images.actions}

    @cached_property
    def _libraries(self) -> Mapping[str, Library]:
        return {library.name: library for library in self.workspace.matrix.variants}

    @cached_property
    def _waivers(self) -> Sequence[Waiver]:
        return load_waivers(self.workspace.root)

    def _compile(self, job: Job, console: Console) -> JobResult:
        session = self._session(job, console)
        # Elsewhere, two checkouts would share the tasks of a job.
        lock = self._locked(job, console) if self.place.keeps_tasks else nullcontext()
        with lock, locked_build(session, session.libraries[0], "compile") as context:
            if job.id not in self.anew:
                if self.place.trusts_builds and _is_compiled(job, context):
                    return JobResult("reused", message="compiled by another process meanwhile")
                if self._restore(job, context, console):
                    return JobResult("reused", message="its outputs were fetched")
                if job.id in self.supplied:
                    raise EngineError(f"`{job}` left no outputs that are those of its record")
            if not self.place.trusts_builds:
                with context.build.opened() as directory:
                    directory.clear()
            with self._recorded(job, session, context) as run:
                run.compile()
                run.outputs = self._keep(context, console)
            if run.is_reusable:
                mark(context.directory, context.build.name, job.id)
        return run.result

    def _restore(self, job: Job, context: BuildContext, console: Console) -> bool:
        """Fetch the outputs of a compilation that succeeded elsewhere; return whether there are
        any."""
        result = self.records.good(job)
        if self.outputs is None or result is None or not result.outputs:
            return False
        forget(context.directory, context.build.name)
        areas, digests = _outputs_of(context), result.outputs.split()
        if len(areas) != len(digests):
            return False
        try:
            for area, digest in zip(areas, digests, strict=True):
                restore_outputs(self.outputs, digest, area)
            if context.prefix:
                note_restored(context)
        except EnvmatrixError as error:
            if job.id in self.supplied:
                raise
            console.warn(f"{error.message}; it is compiled here")
            return False
        mark(context.directory, context.build.name, job.id)
        return True

    def _keep(self, context: BuildContext, console: Console) -> str:
        """Keep the outputs of a compilation for others, where this user may; return their
        digests."""
        if self.outputs is None:
            return ""
        try:
            digests = [keep_outputs(self.outputs, area) for area in _outputs_of(context)]
            return " ".join(digests) if all(digests) else ""
        except (EnvmatrixError, OSError) as error:
            console.warn(f"the outputs are not kept for others: {error}")
            return ""

    def _test(self, job: Job, console: Console) -> JobResult:
        session = self._session(job, console)
        shard = Shard.parse(job.shard) if job.shard else None
        part = Part(job.shard, requirement=job.requirement)
        with (
            self._locked(job, console),
            locked_build(session, session.libraries[0], "test") as context,
        ):
            if job.id not in self.anew and (result := self.records.good(job)):
                return reused_result(result.record)
            with self._recorded(job, session, context, part) as run:
                self._compile_again(job, context, run)
                run.test(TestOptions(TestRequest(shard=shard)), self._waivers, self.today)
        return run.result

    def _step(self, job: Job, console: Console) -> JobResult:
        session = self._session(job, console)
        (library,) = session.libraries
        step = library.steps[job.step]
        part = Part(step=job.step, requirement=job.requirement)
        with self._locked(job, console), locked_build(session, library, "step") as context:
            if job.id not in self.anew and (result := self.records.good(job)):
                return reused_result(result.record)
            with self._recorded(job, session, context, part) as run:
                if step.after == "compile":
                    self._compile_again(job, context, run)
                run.step(job.step, self._waivers, self.today)
        return run.result

    def _measure(self, job: Job, console: Console) -> JobResult:
        session = self._session(job, console)
        has_gpu = job.requirement is None or job.requirement.gpus > 0
        gpu = self.place.choose_gpu(job.requirement) if has_gpu else None
        if isinstance(gpu, NoGpu):
            raise Skipped(gpu.reason)
        part = Part(requirement=job.requirement)
        with (
            self.place.measuring(console),
            locked_build(session, session.libraries[0], VERB_OF[job.kind]) as context,
            self._recorded(job, session, context, part) as run,
        ):
            self._compile_again(job, context, run)
            measure_recorded(run.runner, run.recorder, gpu)
        return run.result

    def _compile_again(self, job: Job, context: BuildContext, run: _JobRun) -> None:
        """Compile what a job needs, unless its outputs are there: somebody may have compiled
        something else meanwhile, or written to the source."""
        if not is_marked(context.directory, context.build.name, self._compilation(job)):
            run.compile()

    def _analyse(self, job: Job, console: Console) -> JobResult:
        session = self._session(job, console)
        with locked_build(session, session.libraries[0], "analyse") as context:
            if job.id not in self.anew and (result := self.records.good(job)):
                return reused_result(result.record)
            with self._recorded(job, session, context) as run:
                for _ in analyse_recorded(AnalysisOptions(), run.runner, run.recorder):
                    pass
        return run.result

    def _is_planned(self, library: Library, state: str) -> bool:
        """Return whether a source has the planned identity; in a state in which it had, it is not
        read again."""
        name = library.declared_name
        if (name, state) in self.planned_states:
            return True
        return source_identities(self.workspace, [library])[name] == self.plan.sources[name]

    def _locked(self, job: Job, console: Console) -> AbstractContextManager[None]:
        wait = f"wait     for another process, which runs `{job}`"
        return self.records.lock(job, lambda: console.say(wait))

    def _compilation(self, job: Job) -> str:
        """Return the id of the compilation whose outputs a job needs."""
        jobs = self.plan.graph.jobs
        needs = (jobs[need] for need in jobs[job.id].needs)
        of_library = ("compile", job.subject[:2])
        return next(need.id for need in needs if (need.kind, need.subject) == of_library)

    def _session(self, job: Job, console: Console) -> CellSession:
        """Return the session of a job, with the resources that it may take."""
        name, cell_id, *_ = job.subject
        cell = self.workspace.matrix.by_id[cell_id]
        is_analysis = self.plan.is_analysis
        compiler, *others = job_images(cell, is_analysis=is_analysis)
        machine = self.plan.machine
        takes = job.resources.at_most(machine)
        return CellSession(
            self.workspace,
            cell,
            (self._libraries[name],),
            compiler,
            compiler if is_analysis else next(iter(others), None),
            self.images.names,
            # Elsewhere, it would travel with each task.
            None
            if self.place.keeps_tasks
            else compiler_cache_of(self.workspace, cell, compiler, console),
            compilers(machine),
            takes.memory // 10**6 or None,
            console,
            self.place,
            takes.processors,
        )

    @contextmanager
    def _recorded(
        self, job: Job, session: CellSession, context: BuildContext, part: Part = WHOLE
    ) -> Iterator[_JobRun]:
        """Yield the run of a job, recorded as one and, if its inputs stayed the same, as the result
        of the job."""
        (library,) = session.libraries
        state = source_state(context)
        is_planned = self._is_planned(library, state)
        run = None
        try:
            attempt = self.records.attempt(job) if self.place.keeps_tasks and is_planned else None
            with recorded_run(session, context, VERB_OF[job.kind], part, attempt) as (
                runner,
                recorder,
            ):
                run = _JobRun(session, runner, recorder, state)
                yield run
        except Exception as error:
            if is_planned and not isinstance(error, Cancelled):
                self.records.forget(job)  # unless the failure is a result, which follows
            raise
        finally:
            has_ended = run is not None and _ended_by_itself(run.recorder)
            if has_ended:
                self.records.end_attempt(job)
            if run is not None and is_planned and source_state(context) == state:
                self.planned_states.add((library.declared_name, state))
                run.is_reusable = True
                if has_ended:
                    self.records.keep(job, run.recorder.journal.parts, run.outputs)
                    if self.records.good(job):
                        PassedJobs(self.workspace.location).add(job)


@dataclass
class _JobRun:
    """The run of a job, which is reusable if its inputs are those that the plan knows; `source` is
    the state of its library's source when it started."""

    session: CellSession
    runner: Runner
    recorder: Recorder
    source: str
    counts: Mapping[str, int] = field(default_factory=dict)
    is_reusable: bool = False
    outputs: str = ""

    def compile(self) -> None:
        for _ in compile_recorded(self.runner, self.recorder, self.source):
            pass

    def test(self, options: TestOptions, waivers: Sequence[Waiver], today: date) -> None:
        tests = _result_of(test_recorded(self.session, options, None, self.runner, self.recorder))
        self._judge(tests, waivers, today)

    def step(self, name: str, waivers: Sequence[Waiver], today: date) -> None:
        step = self.runner.context.library.steps[name]
        run = _result_of(step_recorded(self.session, step, self.runner, self.recorder))
        self._judge(run, waivers, today)

    def _judge(self, run: TestRun, waivers: Sequence[Waiver], today: date) -> None:
        self.counts = Counter(outcome.state for outcome in run.outcomes)
        is_trusted = self.session.workspace.is_trusted
        judge(run, self.runner, waivers, today, is_trusted=is_trusted)

    @property
    def result(self) -> JobResult:
        message = "" if self.is_reusable else _CHANGED
        return JobResult(_STATES[self.recorder.state], message=message, counts=self.counts)


def _is_compiled(job: Job, context: BuildContext) -> bool:
    """Return whether the build directory has the outputs of a compilation."""
    place = (context.directory, context.build.name)
    return is_marked(*place, job.id) and (not context.prefix or is_present(*place))


def _outputs_of(context: BuildContext) -> Sequence[Area]:
    """Return what a compilation leaves for jobs that need it."""
    return (context.build, *([context.installed] if context.prefix else []))


def _ended_by_itself(recorder: Recorder) -> bool:
    end = recorder.journal.parts[-1]
    return isinstance(end, End) and end.state != "killed" and end.cause != "infrastructure"


def _result_of(steps: Generator[object, None, T]) -> T:
    """Run a generator to its end; return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)
