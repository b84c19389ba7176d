"""Runs, with their steps, outcomes, measurements and products."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTED = ("passed", "flaky", "failed", "errored", "skipped")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("library", sa.String(200), nullable=False),
        sa.Column("cell", sa.String(200), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("cause", sa.String(20)),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("started", sa.Float(53), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("revision", sa.String(200), nullable=False),
        sa.Column("branch", sa.String(500), nullable=False),
        sa.Column("committed", sa.Float(53)),
        sa.Column("image", sa.String(500), nullable=False),
        sa.Column("digest", sa.String(100), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("shard", sa.String(20), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        *(sa.Column(state, sa.Integer, nullable=False) for state in _COUNTED),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index(
        "ix_runs_library_cell_verb_started", "runs", ["library", "cell", "verb", "started"]
    )
    op.create_index("ix_runs_started", "runs", ["started"])
    _of_run(
        "steps",
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("log", sa.LargeBinary, nullable=False),
    )
    _of_run(
        "outcomes",
        sa.Column("name", sa.String(600), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("output", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_outcomes_name", "outcomes", ["name", "run"])
    remarkable = sa.text("state != 'passed' AND state != 'skipped'")
    op.create_index(
        "ix_outcomes_remarkable",
        "outcomes",
        ["run"],
        sqlite_where=remarkable,
        postgresql_where=remarkable,
    )
    _of_run(
        "measurements",
        sa.Column("name", sa.String(500), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("unit", sa.String(50), nullable=False),
        sa.Column("direction", sa.String(10), nullable=False),
    )
    _of_run(
        "products",
        sa.Column("path", sa.String(4000), nullable=False),
        sa.Column("machine", sa.String(50)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )


def _of_run(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("run", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("run", "position", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], ondelete="CASCADE"),
    )
