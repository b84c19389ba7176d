"""The part of the work of a verb that a run does; older runs do the whole work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("part", sa.String(200), nullable=False, server_default="")
    op.add_column("runs", column)
