"""Comparisons of benchmarks with those of another revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("run", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.String(500), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("effect", sa.Float(53), nullable=False),
        sa.Column("half_width", sa.Float(53), nullable=False),
        sa.Column("baseline", sa.String(200), nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("unit", sa.String(50), nullable=False),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("pairs", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run", "position", name="pk_comparisons"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], ondelete="CASCADE"),
    )
