"""Which tests a change reaches: `--since`, `--explain` and `--shadow` of `envmatrix run test`."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.commands.affected import compared
from envmatrix.commands.locked import tree
from envmatrix.commands.place import Cell
from envmatrix.console import Console, output
from envmatrix.engine.revisions import changed_files
from envmatrix.engine.sources import differing
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.libraries import source_set
from envmatrix.results.records import BAD
from envmatrix.sessions.dependencies import (
    Selection,
    Test,
    build_of,
    dependencies,
    listed_tests,
    of_library,
    selection,
)
from envmatrix.sessions.execution import Execution
from envmatrix.sessions.outcomes import Measurement, TestOutcome
from envmatrix.sessions.testing import Testing
from envmatrix.text import one_line


def selected(cell: Cell, execution: Execution, testing: Testing, since: str) -> Selection:
    """The tests of a library, after it was compiled, that what changed since a revision reaches."""
    files, reason = _changed(cell, execution, since)
    if reason:
        return Selection(None, reason)
    return reached(execution, testing, files)


def reached(execution: Execution, testing: Testing, files: Sequence[str]) -> Selection:
    """Select the tests that a change of files of the library reaches."""
    ninja = execution.ninja_files()
    if testing.tests.framework != "ctest" or not ninja:
        return Selection(None, "only builds with ninja and CTest tell what tests depend on")
    try:
        tests = _listed(testing)
    except EnvmatrixError as error:
        return Selection(None, error.message)
    known = dependencies(build_of(*ninja), tests, execution.place.tree)
    return selection(known, files, testing.tests.ignore)


def _listed(testing: Testing) -> tuple[Test, ...]:
    """The tests that CTest lists where they run; EnvmatrixError where it lists none."""
    tests: list[Test] = []
    for _, printed in testing.listings():
        testing.runner.check(printed)
        tests += listed_tests(printed.ended.stdout)
    return tuple(tests)


def _changed(cell: Cell, execution: Execution, since: str) -> tuple[Sequence[str], str | None]:
    """The files of the library that changed, or why they do not tell. Of a source that is locked,
    that at the revision is compared with that of now, wherever they are from."""
    library, root = execution.place.library, cell.workspace.root
    known = compared(cell.workspace, since, cell.console)
    reason = known.why_all(library, cell.planned)
    if reason or known.states is None:
        return (), reason
    if library.source is None:
        return of_library(changed_files(root, since), library.path), None
    locked = known.states[0].lock.sets.get(source_set(library))
    if locked is None:
        return (), f"the lock at `{since}` does not have its source"
    before = tree(locked, cell.console)
    return of_library(differing(before, execution.place.source), library.path), None


def explain(found: Selection, console: Console, *, every_test: bool) -> None:
    """Say what is run, and with `every_test` why each is."""
    what = "all tests" if found.tests is None else f"{len(found.tests)} tests"
    console.say(f"select   {what}: {found.reason}")
    for name, reason in sorted((found.tests or {}).items()) if every_test else ():
        output(f"selected {one_line(name)}: {one_line(reason)}")


def missed(found: Selection, outcomes: Sequence[TestOutcome]) -> tuple[TestOutcome, ...]:
    """What fails and would not have been run."""
    if found.tests is None:
        return ()
    return tuple(its for its in outcomes if its.state in BAD and its.name not in found.tests)


def shadow(
    found: Selection, outcomes: Sequence[TestOutcome], console: Console
) -> tuple[Measurement, ...]:
    """Say what would have been skipped, and whether that would have been right."""
    wrong = missed(found, outcomes)
    skipped = [its for its in outcomes if found.tests is not None and its.name not in found.tests]
    seconds = sum(its.seconds for its in skipped)
    console.say(f"shadow   {len(skipped)} tests would have been skipped, {seconds:.1f} s")
    for outcome in wrong:
        console.warn(f"`{one_line(outcome.name)}` fails and would not have been run")
    return (
        Measurement("tests that selection would skip", len(skipped), "tests", "higher"),
        Measurement("failures that selection would miss", len(wrong), "tests", "lower"),
    )
