"""What a wheel that is fit to publish has; nothing is known of older ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("contents", sa.String(4000), nullable=False, server_default="")
    op.add_column("products", column)
