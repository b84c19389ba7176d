"""What a results store has of runs, without what differs from run to run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

# Ids, times, and sizes on this machine.
_OTHER_EACH_TIME = {"id", "run", "started", "seconds", "host", "committed"}
_TABLES = ("runs", "steps", "outcomes", "measurements", "products", "findings")


def stored_rows(root: Path) -> Sequence[str]:
    """Return the rows of all runs in the store of a repository, in an order of their own."""
    rows: list[str] = []
    with closing(sqlite3.connect(root / ".envmatrix/results.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        runs = {row["id"]: row for row in connection.execute("SELECT * FROM runs")}
        for table in _TABLES:
            if table not in names:
                continue
            for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 -- our tables
                run = runs[row["id" if table == "runs" else "run"]]
                values = {k: v for k, v in dict(row).items() if k not in _OTHER_EACH_TIME}
                rows.append(f"{table} {run['library']} {run['cell']} {run['verb']} {values}")
    return sorted(rows)
