"""Alembic's environment: runs the migrations on the connection that it is passed."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
