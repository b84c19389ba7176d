"""`envmatrix plan --diff`: the cells that changed since a git revision."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.app.states import states
from envmatrix.app.workspace import Workspace
from envmatrix.commands import options
from envmatrix.console import Console, output
from envmatrix.matrix.selection import select_in_any
from envmatrix.plan.matrix_diff import Change, changes

_MOST_REASONS = 5


def show_diff(
    workspace: Workspace,
    revision: str,
    patterns: Sequence[str],
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Show which of the cells that `patterns` select on either side come, go or change."""
    before, after = states(workspace, revision, console)
    rows = changes(before, after)
    if patterns:
        selected = select_in_any([after.matrix, before.matrix], patterns)
        rows = tuple(change for change in rows if change.cell in selected)
    if as_json:
        options.print_json([_row(change) for change in rows])
    else:
        lines = [_line(change) for change in rows]
        output("\n".join(lines or [f"no cell comes, goes or changes since `{revision}`"]))


def _row(change: Change) -> dict[str, object]:
    return {"cell": change.cell.id, "change": change.verb, "reasons": list(change.reasons)}


def _line(change: Change) -> str:
    more = len(change.reasons) - _MOST_REASONS
    shown = [*change.reasons[:_MOST_REASONS], *([f"and {more} more"] if more > 0 else [])]
    return f"{change.verb:8} {change.cell}: {'; '.join(shown)}"
