"""Findings of analysers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "findings",
        sa.Column("run", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("tool", sa.String(100), nullable=False),
        sa.Column("rule", sa.String(200), nullable=False),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("file", sa.String(4000), nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("is_new", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run", "position", name="pk_findings"),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], ondelete="CASCADE"),
    )
