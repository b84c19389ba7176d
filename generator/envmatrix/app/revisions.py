"""Changes since a revision: of cells, and of the libraries and the tests that they affect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.app.library_sources import source_tree
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate, Problem
from envmatrix.lock.lock_file import FILE, load
from envmatrix.lock.model import source_set
from envmatrix.lock.requests import drift
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import FLAVOURS, MATRIX, OVERLAYS
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import is_for, select_in_any
from envmatrix.plan.matrix_diff import Change, State, changes, library_change, source_change
from envmatrix.records import dataclass
from envmatrix.results.records import BAD
from envmatrix.sessions import test_dependencies
from envmatrix.sessions.compilation import ninja_files
from envmatrix.sessions.outcomes import Measurement, TestOutcome
from envmatrix.sessions.test_dependencies import Selection, files_of_library, is_ignored
from envmatrix.sessions.testing import Testing
from envmatrix.text import number_of, one_line
from envmatrix.vcs.git import changed_files, export_files
from envmatrix.vcs.source_trees import differing_files


def _states(workspace: Workspace, revision: str, console: Console) -> tuple[State, State]:
    """Return the states of a revision and of the working tree, whose lock may be older than its
    matrix."""
    before = _committed(workspace.root, revision)
    after = State(workspace.matrix, load(workspace.root))
    if drift(after.lock, after.matrix, workspace.recipes):
        console.say(f"`{FILE}` is out of date with `{MATRIX}`; see `envmatrix lock`")
    return before, after


def changes_since(
    workspace: Workspace, revision: str, patterns: Sequence[str], console: Console
) -> tuple[Change, ...]:
    """Return which of the cells that `patterns` select on either side come, go or change."""
    before, after = _states(workspace, revision, console)
    rows = changes(before, after)
    if not patterns:
        return rows
    selected = select_in_any([after.matrix, before.matrix], patterns)
    return tuple(change for change in rows if change.cell in selected)


@contextmanager
def committed_files(root: Path, revision: str) -> Iterator[Path]:
    """Yield a directory with the matrix and the lock of a revision."""
    with TemporaryDirectory(prefix="envmatrix-") as scratch:
        export_files(root, revision, (MATRIX, OVERLAYS, FLAVOURS, FILE), Path(scratch))
        yield Path(scratch)


def _committed(root: Path, revision: str) -> State:
    with committed_files(root, revision) as directory:
        try:
            return State(load_matrix(directory), load(directory))
        except ConfigurationError as error:
            problems = (_at(revision, problem) for problem in error.problems)
            raise ConfigurationError(*problems) from error
        except OutOfDate as error:
            raise OutOfDate(f"at `{revision}`, {error.message}") from error


def _at(revision: str, problem: Problem) -> Problem:
    """Return `problem` with its place in a revision, and without a hint: it cannot be corrected."""
    position = problem.position
    if position is None:
        return Problem(f"at `{revision}`, {problem.message}")
    return Problem(problem.message, replace(position, file=f"{revision}:{position.file}"))


@dataclass(frozen=True, slots=True)
class Affected:
    """A library in a cell, and why a change reaches it; None if it does not."""

    library: str
    cell: str
    reason: str | None


def pairs_since(
    workspace: Workspace, patterns: Sequence[str], since: str, console: Console
) -> Iterator[Affected]:
    """Yield every library in every selected cell, with the reason if changes affect it."""
    yield from affected_pairs(workspace, patterns, compare_revision(workspace, since, console))


def affected_pairs(
    workspace: Workspace, patterns: Sequence[str], diff: RevisionDiff
) -> Iterator[Affected]:
    """Yield every library in every selected cell, with the reason if a difference affects it."""
    matrix = workspace.matrix
    own_reasons = {
        library.name: diff.library_reason(library)
        or _source_reason(library, diff)
        or _needs_reason(library, diff, matrix)
        for library in matrix.variants
    }
    for cell, library in product(workspace.cells(patterns), matrix.variants):
        if is_for(library, cell, matrix):
            reason = diff.cell_reason(cell) or own_reasons[library.name]
            yield Affected(library.name, cell.id, reason)


def _needs_reason(library: Library, diff: RevisionDiff, matrix: Matrix) -> str | None:
    """Return why what a library needs is affected in every cell; None if it is not."""
    for need in matrix.needs_of(library):
        if reason := diff.library_reason(need) or _source_reason(need, diff):
            return f"`{need.name}`, which it needs: {reason}"
    return None


@dataclass(frozen=True, slots=True)
class RevisionDiff:
    """The difference between the revision `since` and the working tree: the `files` that changed,
    both states, and the reason for each cell that changed; or the reason why they cannot be
    compared."""

    since: str
    files: Sequence[str]
    states: tuple[State, State] | None = None
    cells: Mapping[str, str] = field(default_factory=dict)
    unknown: str | None = None

    def reason_for(self, library: Library, cell: Cell) -> str | None:
        """Return why a library in a cell is affected apart from its own files; None if not."""
        return self.cell_reason(cell) or self.library_reason(library)

    def cell_reason(self, cell: Cell) -> str | None:
        """Return why everything in a cell is affected; None if not."""
        return self.unknown if self.states is None else self.cells.get(cell.id)

    def library_reason(self, library: Library) -> str | None:
        """Return why a library is affected in every cell apart from its own files; None if not."""
        return library_change(library, *self.states) if self.states else None


def compare_revision(workspace: Workspace, since: str, console: Console) -> RevisionDiff:
    """Compare a revision with the working tree; raise ConfigurationError if it does not exist."""
    try:
        files = changed_files(workspace.root, since)
    except ConfigurationError:
        raise
    except EnvmatrixError as error:  # without git, or a common ancestor
        return RevisionDiff(since, (), unknown=f"no changes are known: {error.message}")
    try:
        both = _states(workspace, since, console)
    except ConfigurationError:
        return RevisionDiff(since, files, unknown=f"the matrix at `{since}` cannot be read")
    except EnvmatrixError as error:
        return RevisionDiff(since, files, unknown=error.message)
    rows = changes(*both)
    reasons = {row.cell.id: f"the cell {row.verb}: {row.reasons[0]}" for row in rows}
    return RevisionDiff(since, files, both, reasons)


def _source_reason(library: Library, diff: RevisionDiff) -> str | None:
    if library.source is not None:
        return source_change(library, *diff.states) if diff.states else None
    ignored = library.tests.ignore if library.tests else ()
    files = files_of_library(diff.files, library.path)
    relevant = [file for file in files if not is_ignored(file, ignored)]
    if not relevant:
        return None
    more = f" and {len(relevant) - 1} more" if len(relevant) > 1 else ""
    return f"`{relevant[0]}`{more} changed"


def select_tests(testing: Testing, diff: RevisionDiff) -> Selection:
    """Select the tests of a compiled library that the changes since a revision affect. The files of
    a locked source are compared between the lock at the revision and the lock now."""
    context, files = testing.runner.context, diff.files
    reason = diff.reason_for(context.library, context.cell)
    if diff.states is not None:
        reason = reason or _needs_reason(context.library, diff, diff.states[1].matrix)
    if reason or diff.states is None:
        return Selection(None, str(reason))
    if context.library.source is not None:
        locked = diff.states[0].lock.sets.get(source_set(context.library))
        if locked is None:
            return Selection(None, f"the lock at `{diff.since}` does not have its source")
        files = differing_files(source_tree(locked, testing.runner.console), context.source)
    return select_by_files(testing, files_of_library(files, context.library.path))


def select_by_files(testing: Testing, files: Sequence[str]) -> Selection:
    """Select the tests that changes of the library's files affect."""
    context, parse = testing.runner.context, testing.framework.parse_tests
    ninja = ninja_files(context)
    if parse is None or not ninja:
        return Selection(None, "only builds with ninja and CTest tell what tests depend on")
    tests: list[test_dependencies.Test] = []
    try:
        for _, listing in testing.listings:  # where the tests run
            testing.runner.check(listing)
            tests += parse(listing.result.stdout)
    except EnvmatrixError as error:
        return Selection(None, error.message)
    inputs = test_dependencies.parse_ninja(*ninja)
    graph = test_dependencies.dependencies(inputs, tests, context.tree)
    return test_dependencies.selection(graph, files, testing.tests.ignore)


def shadow(
    selection: Selection, outcomes: Sequence[TestOutcome], console: Console
) -> tuple[Measurement, ...]:
    """Report which tests would have been skipped, and which failures would have been missed."""
    tests = selection.tests
    skipped = [] if tests is None else [test for test in outcomes if test.name not in tests]
    missed = [test for test in skipped if test.state in BAD]
    seconds = sum(test.seconds for test in skipped)
    tests_skipped = number_of(len(skipped), "test")
    console.say(f"shadow   {tests_skipped} would have been skipped, {seconds:.1f} s")
    for outcome in missed:
        console.warn(f"`{one_line(outcome.name)}` fails and would not have been run")
    return (
        Measurement("tests that selection would skip", len(skipped), "tests", "higher"),
        Measurement("failures that selection would miss", len(missed), "tests", "lower"),
    )
