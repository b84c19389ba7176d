"""Test selection: `--since`, `--explain` and `--shadow` of `envmatrix run test`."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.app.cell_session import CellSession
from envmatrix.app.library_sources import source_tree
from envmatrix.app.revisions import compare_revision
from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.lock.model import source_set
from envmatrix.results.records import BAD
from envmatrix.sessions.compilation import ninja_files
from envmatrix.sessions.outcomes import Measurement, TestOutcome
from envmatrix.sessions.test_dependencies import (
    Selection,
    Test,
    dependencies,
    files_of_library,
    parse_ninja,
    selection,
)
from envmatrix.sessions.testing import Testing
from envmatrix.text import one_line
from envmatrix.vcs.git import changed_files
from envmatrix.vcs.source_trees import differing_files


def select_tests(session: CellSession, testing: Testing, since: str) -> Selection:
    """Select the tests of a compiled library that the changes since a revision affect. The files of
    a locked source are compared between the lock at the revision and the lock now."""
    context, root = testing.runner.context, session.workspace.root
    diff = compare_revision(session.workspace, since, session.console)
    reason = diff.reason_for(context.library, context.cell)
    if reason or diff.states is None:
        return Selection(None, str(reason))
    files: Sequence[str]
    if context.library.source is None:
        files = changed_files(root, since)
    else:
        locked = diff.states[0].lock.sets.get(source_set(context.library))
        if locked is None:
            return Selection(None, f"the lock at `{since}` does not have its source")
        files = differing_files(source_tree(locked, session.console), context.source)
    return select_by_files(testing, files_of_library(files, context.library.path))


def select_by_files(testing: Testing, files: Sequence[str]) -> Selection:
    """Select the tests that changes of the library's files affect."""
    context, parse = testing.runner.context, testing.framework.parse_tests
    ninja = ninja_files(context)
    if parse is None or not ninja:
        return Selection(None, "only builds with ninja and CTest tell what tests depend on")
    tests: list[Test] = []
    try:
        for _, listing in testing.listings():  # where the tests run
            testing.runner.check(listing)
            tests += parse(listing.result.stdout)
    except EnvmatrixError as error:
        return Selection(None, error.message)
    graph = dependencies(parse_ninja(*ninja), tests, context.tree)
    return selection(graph, files, testing.tests.ignore)


def shadow(
    selection: Selection, outcomes: Sequence[TestOutcome], console: Console
) -> tuple[Measurement, ...]:
    """Report which tests would have been skipped, and which failures would have been missed."""
    tests = selection.tests
    skipped = [] if tests is None else [test for test in outcomes if test.name not in tests]
    missed = [test for test in skipped if test.state in BAD]
    seconds = sum(test.seconds for test in skipped)
    console.say(f"shadow   {len(skipped)} tests would have been skipped, {seconds:.1f} s")
    for outcome in missed:
        console.warn(f"`{one_line(outcome.name)}` fails and would not have been run")
    return (
        Measurement("tests that selection would skip", len(skipped), "tests", "higher"),
        Measurement("failures that selection would miss", len(missed), "tests", "lower"),
    )
