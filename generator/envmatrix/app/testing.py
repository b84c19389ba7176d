"""Compile and test the libraries of a cell: all tests, a shard, or those that a change affects."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial
from typing import TYPE_CHECKING

from envmatrix.app.cell_session import CellSession
from envmatrix.app.compilation import Compilation, compile_recorded
from envmatrix.app.library_runs import (
    Part,
    gpus_of,
    parts_on,
    require_machine,
    revision_of,
    run_each_library,
)
from envmatrix.errors import ConfigurationError
from envmatrix.matrix.library import Library
from envmatrix.records import dataclass
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import ARGUMENTS, BAD, SINCE
from envmatrix.results.waivers import Waiver, load_waivers, waiver_of
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import TestOutcome
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.test_dependencies import Selection
from envmatrix.sessions.testing import Testing, TestRequest, TestRun
from envmatrix.text import one_line
from envmatrix.vcs import git

if TYPE_CHECKING:
    from envmatrix.app.revisions import RevisionDiff

# The products, the selected tests, their outcomes, or why there are none.
TestResult = Compilation | Selection | TestRun | str

_UNTRUSTED = "; waivers of a change that is not trusted, as of a fork, do not count"


@dataclass(frozen=True, slots=True)
class TestOptions:
    """The tests to run, and how: of those that are requested the ones that changes `since` a
    revision affect, which a `shadow` run only reports."""

    __test__ = False  # pytest: this is no test class

    request: TestRequest
    since: str | None = None
    shadow: bool = False


def test_libraries(
    session: CellSession, options: TestOptions, today: date, show: Callable[[TestResult], None]
) -> int:
    """Compile and test each library, and show the results; return the exit code."""
    request = options.request
    if request.arguments:
        _require_tests(session.libraries)
    waivers = cache(partial(load_waivers, session.workspace.root))
    diff = _diff(session, options.since)

    def test(runner: Runner, recorder: Recorder) -> Iterator[TestResult]:
        context = runner.context
        require_machine(session, context)
        yield from compile_recorded(runner, recorder)
        if context.library.is_only_compiled:
            context.junit.unlink(missing_ok=True)
            yield f"no tests: `{context.library.name}` has `test: none`"
            return
        if context.requirement is None and context.library.tests and context.library.tests.runs_on:
            yield f"no tests: `runs_on` has no machine for `{context.cell.id}`"
            return
        run = yield from test_recorded(session, options, diff, runner, recorder)
        judge(run, runner, waivers(), today)

    is_selected = options.since is not None and not options.shadow
    extent = ARGUMENTS if request.arguments else SINCE if is_selected else ""
    part = Part(str(request.shard or ""), extent)

    def parts(library: Library) -> Sequence[Part]:
        return parts_on(session, library.tested_on, part)

    return run_each_library(session, "test", test, show, parts)


def placed(outcomes: Sequence[TestOutcome], context: BuildContext) -> Iterator[TestOutcome]:
    """Yield tests with the machine that they are required to run on in their names: each machine
    has results of its own."""
    for outcome in outcomes:
        yield replace(outcome, name=placed_name(outcome.name, context))


def placed_name(name: str, context: BuildContext) -> str:
    """Return a name with the machine that a requirement means, if there is one."""
    return f"{name} on {context.requirement.label}" if context.requirement else name


def _require_tests(libraries: Sequence[Library]) -> None:
    """Raise ConfigurationError if no library has tests that could take arguments."""
    if all(library.tests is None for library in libraries):
        names = ", ".join(f"`{library.name}`" for library in libraries)
        message = f"arguments are for a test framework, and {names} has no tests"
        raise ConfigurationError(message, hint="leave out what follows `--`")


def _diff(session: CellSession, since: str | None) -> RevisionDiff | None:
    """Compare a revision, if one is named, with the working tree."""
    if since is None:
        return None
    from envmatrix.app.revisions import compare_revision

    return compare_revision(session.workspace, since, session.console)


def test_recorded(
    session: CellSession,
    options: TestOptions,
    diff: RevisionDiff | None,
    runner: Runner,
    recorder: Recorder,
) -> Generator[Selection | TestRun, None, TestRun]:
    """Select, run and record the tests of a compiled library; yield each result."""
    context = runner.context
    if context.library.tests is None:
        raise Skipped(f"library `{context.library.name}` has no `test` in matrix.yaml")
    if context.runtime is None:
        raise Skipped(f"`{context.cell.id}` is compiled; its tests run on hardware of its own only")
    durations = _durations(session, context) if options.request.shard else {}
    testing = Testing(runner, context.library.tests, gpus_of(session.place, context))
    selection = None
    if diff is not None:
        from envmatrix.app.revisions import select_tests

        selection = select_tests(testing, diff)
        yield selection
    tests = None if selection is None or options.shadow else selection.tests
    only = None if tests is None else tuple(tests)
    run = testing.run(replace(options.request, durations=durations, only=only))
    run = replace(run, outcomes=tuple(placed(run.outcomes, context)))
    recorder.add_tests(run.outcomes)
    yield run
    if selection is not None and options.shadow:
        from envmatrix.app.revisions import shadow

        recorder.journal.write(*shadow(selection, run.outcomes, session.console))
    return run


def _durations(session: CellSession, context: BuildContext) -> Mapping[str, float]:
    """Return the durations of a library's tests, in seconds, from runs before the revision was
    committed: so shards that run one after the other use the same."""
    library, location = context.library, session.workspace.location
    if location.is_empty:
        return {}
    from envmatrix.results import queries  # SQLAlchemy

    root, warn = session.workspace.root, session.console.warn
    checkout = git.checkout_of(root)
    own = revision_of(session.workspace, library).committed
    before = own or (checkout.committed if checkout else 0.0)
    with location.open_store(warn) as database, database.reading() as connection:
        stored = queries.durations(connection, library.name, session.cell.id, before)
    suffix = placed_name("", context)
    return {
        name.removesuffix(suffix): seconds
        for name, seconds in stored.items()
        if name.endswith(suffix)
    }


def judge(
    run: TestRun,
    runner: Runner,
    waivers: Sequence[Waiver],
    today: date,
    *,
    is_trusted: bool = True,
) -> None:
    """Raise for failures that are not waived, warn of those that are, and raise Skipped if no test
    could run. Waivers of a checkout that is not trusted waive nothing: its author may have added
    them."""
    library, cell = runner.context.library.name, runner.context.cell.id
    if run.outcomes and all(outcome.state == "skipped" for outcome in run.outcomes):
        raise run.failure or Skipped(f"no test of `{library}` could run in `{cell}`")
    failures = [outcome.name for outcome in run.outcomes if outcome.state in BAD]
    matches = {name: waiver_of(waivers, library, cell, name, today) for name in failures}
    if run.failure and not is_trusted:
        if any(matches.values()):
            run.failure.message += _UNTRUSTED
        raise run.failure
    for name, waiver in matches.items() if run.failure else ():
        if waiver is not None:
            what = f"`{one_line(name)}` fails, and is waived"
            runner.console.warn(f"{what}: {waiver.bug}, {waiver.owner}")
    if run.failure and not (failures and all(matches.values())):
        raise run.failure
