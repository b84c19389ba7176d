"""Find the first revision at which a test of a library fails, or a benchmark is slower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from envmatrix.app.cell_session import CellSession
from envmatrix.app.comparing import ComparisonRequest, Sides, built, comparisons_of, measure_pairs
from envmatrix.app.library_runs import WHOLE, Part, gpus_of
from envmatrix.app.measurement import gpus_for
from envmatrix.app.requirements import unmet
from envmatrix.app.snapshots import has_snapshot, session_at, snapshot_at
from envmatrix.app.testing import placed_name
from envmatrix.comparison.bisection import Answer, Search
from envmatrix.comparison.model import Limits
from envmatrix.engine.gpu import NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import ConfigurationError, EnvmatrixError
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import machines_of
from envmatrix.matrix.tier_names import TIERS
from envmatrix.records import dataclass
from envmatrix.results.records import BAD
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.testing import Testing, TestRequest
from envmatrix.text import number_of
from envmatrix.vcs.git import commit_named, commits_between

# What is undecided or invalid is unknown.
_ANSWERS: Mapping[str, Answer] = {"slower": "bad", "faster": "good", "equal": "good"}


@dataclass(frozen=True, slots=True)
class Bisection:
    """What is searched for between the revisions `good` and `bad`: where the test `test` begins to
    fail, where `benchmark` becomes slower within these limits, or, without both, where the library
    no longer compiles or passes its tests."""

    good: str
    bad: str
    test: str | None
    benchmark: str | None
    limits: Limits
    seconds: float


@dataclass(frozen=True, slots=True)
class Culprits:
    """The revisions of which one is the first bad one, the oldest first, and what was said of those
    that were tried; a contradiction if it was good again in between."""

    suspects: Sequence[str]
    tried: Sequence[tuple[str, Answer, str]]
    is_contradictory: bool

    @property
    def first(self) -> str | None:
        """The first bad revision, if only one is left."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def bisect_library(session: CellSession, bisection: Bisection) -> Culprits:
    """Search with the only library of a session.

    Raises:
        ConfigurationError: the good revision is no ancestor of the bad one, or not the state that
            it should have.
    """
    workspace, console = session.workspace, session.console
    judge = _Judge(session, bisection)
    if bisection.benchmark is not None:
        judge = _Judge(session, bisection, *_measured_on(session))
    good, bad = (commit_named(workspace.root, name) for name in (bisection.good, bisection.bad))
    revisions = commits_between(workspace.root, good, bad)
    tried: list[tuple[str, Answer, str]] = []

    def ask(revision: str) -> Answer:
        answer, reason = judge.answer(revision)
        tried.append((revision, answer, reason))
        console.say(f"{answer:8} {revision[:12]}: {reason}")
        return answer

    # A benchmark is compared with the good revision, which is not compared with itself.
    ends = [(good, "good")] if bisection.benchmark is None else []
    for revision, expected in (*ends, (bad, "bad")):
        if ask(revision) != expected:
            message = f"`{revision[:12]}` is not {expected}: {tried[-1][2]}"
            raise ConfigurationError(message, hint=f"name another revision that is {expected}")
    search = Search(revisions, {bad: "bad"})
    while name := search.next([name for name in revisions if has_snapshot(workspace, name)]):
        console.say(f"bisect   {number_of(len(search.suspects), 'revision')} left")
        search = replace(search, answers={**search.answers, name: ask(name)})
    return Culprits(search.suspects, tried, search.is_contradictory)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges revisions; benchmarks are measured on `machine`, or on `gpu` if they require none."""

    session: CellSession
    bisection: Bisection
    machine: Requirement | None = None
    gpu: Gpus | NoGpu = NoGpu("nothing is measured")

    def answer(self, revision: str) -> tuple[Answer, str]:
        """Return whether a revision is good, with the reason."""
        if self.bisection.benchmark is not None:
            return self._compare(revision, self.bisection.benchmark)
        try:
            with self._built(revision) as runner:
                return self._test(runner)
        except EnvmatrixError as error:
            return "bad" if self.bisection.test is None else "unknown", error.message

    @contextmanager
    def _built(self, revision: str, part: Part = WHOLE) -> Iterator[Runner]:
        snapshot = snapshot_at(self.session.workspace, revision, self.session.console)
        session = session_at(self.session, snapshot, revision)
        with built(session, session.libraries[0], part) as (runner, _):
            yield runner

    def _test(self, runner: Runner) -> tuple[Answer, str]:
        name, context = self.bisection.test, runner.context
        if context.library.tests is None:
            return "unknown", "it has no tests"
        testing = Testing(runner, context.library.tests, gpus_of(self.session.place, context))
        run = testing.run(TestRequest(only=None if name is None else (name,)))
        if name is None:
            bad = [outcome.name for outcome in run.outcomes if outcome.state in BAD]
            text = number_of(len(bad), "failed test")
            return ("bad", text) if bad or run.failure else ("good", "all tests pass")
        states = {outcome.name: outcome.state for outcome in run.outcomes}
        state = states.get(name, "skipped")
        if state == "skipped":
            return "unknown", "the test is skipped" if name in states else "there is no such test"
        return "bad" if state in BAD else "good", f"the test {state}"

    def _compare(self, revision: str, benchmark: str) -> tuple[Answer, str]:
        place, console, bisection = self.session.place, self.session.console, self.bisection
        request = ComparisonRequest(bisection.good, bisection.limits, bisection.seconds)
        part = Part(requirement=self.machine)
        try:
            with (
                place.measuring(console),
                self._built(bisection.good, part) as baseline,
                self._built(revision, part) as change,
            ):
                gpus = gpus_for(place, change.context, self.gpu)
                rows = measure_pairs(Sides(baseline, change, gpus), request)
                comparisons = comparisons_of(rows, request, "", change.context)
                names = (benchmark, placed_name(benchmark, change.context))
        except EnvmatrixError as error:
            return "unknown", error.message
        row = next((row for row in comparisons if row.name in names), None)
        if row is None:
            every = ", ".join(f"`{row.name}`" for row in comparisons) or "nothing"
            return "unknown", f"no benchmark is called `{benchmark}`: it measures {every}"
        return _ANSWERS.get(row.state, "unknown"), row.message


def _measured_on(session: CellSession) -> tuple[Requirement | None, Gpus | NoGpu]:
    """Return the first machine for benchmarks that this place is, or the first one at all, and the
    GPUs of what requires none."""
    place, matrix, (library,) = session.place, session.workspace.matrix, session.libraries
    gpu = place.choose_gpu()
    machines = machines_of(library.measured_on, session.cell, matrix, TIERS[-1])
    fitting = (
        row
        for row in machines
        if (
            unmet(row, library, session.cell, matrix, place.choose_gpu) is None
            if row
            else isinstance(gpu, Gpus)
        )
    )
    return next(fitting, machines[0] if machines else None), gpu
