"""The extent of a run's tests; older runs count as whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("extent", sa.String(20), nullable=False, server_default="")
    op.add_column("runs", column)
