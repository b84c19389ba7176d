"""The tables of the store in the newest schema. Pure.

A change here needs a migration in `migrations/versions/`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.schema import SchemaItem

from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import COUNTED, Comparison, Measurement, Step, TestOutcome
from envmatrix.sessions.products import Product

METADATA = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

_Type: TypeAlias = type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]


def _table(name: str, /, *items: SchemaItem, **required: _Type) -> sa.Table:
    """Return a table of the columns that rows must have, and of other items."""
    columns = (sa.Column(column, kind, nullable=False) for column, kind in required.items())
    return sa.Table(name, METADATA, *columns, *items)


runs = _table(
    "runs",
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("cause", sa.String(20)),
    sa.Column("committed", sa.Float(53)),
    sa.Column("extent", sa.String(20), nullable=False, server_default=""),
    sa.Column("part", sa.String(200), nullable=False, server_default=""),
    sa.Index(None, "library", "cell", "verb", "started"),
    sa.Index(None, "started"),
    library=sa.String(200),
    cell=sa.String(200),
    verb=sa.String(20),
    state=sa.String(10),
    message=sa.String(4000),
    started=sa.Float(53),
    seconds=sa.Float(53),
    revision=sa.String(200),
    branch=sa.String(500),
    image=sa.String(500),
    digest=sa.String(100),
    host=sa.String(255),
    shard=sa.String(20),
    **dict.fromkeys(COUNTED, sa.Integer),
)


def _of_run(name: str, /, *items: sa.Column[Any], **required: _Type) -> sa.Table:
    """Return a table of ordered parts of runs."""
    run = sa.ForeignKey("runs.id", ondelete="CASCADE")
    return _table(
        name,
        sa.Column("run", sa.String(36), run, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        *items,
        **required,
    )


steps = _of_run(
    "steps", name=sa.String(50), status=sa.Integer, seconds=sa.Float(53), log=sa.LargeBinary
)

outcomes = _of_run(
    "outcomes",
    # Short enough for a key of PostgreSQL's indexes, whatever its characters.
    name=sa.String(600),
    state=sa.String(10),
    seconds=sa.Float(53),
    message=sa.String(4000),
    attempts=sa.Integer,
    output=sa.LargeBinary,
)
sa.Index("ix_outcomes_name", outcomes.c.name, outcomes.c.run)
# Nearly all outcomes are passed or skipped: this partial index finds the others. A database uses it
# for queries with the same condition.
REMARKABLE = sa.and_(outcomes.c.state != "passed", outcomes.c.state != "skipped")
sa.Index(
    "ix_outcomes_remarkable", outcomes.c.run, sqlite_where=REMARKABLE, postgresql_where=REMARKABLE
)

measurements = _of_run(
    "measurements",
    name=sa.String(500),
    value=sa.Float(53),
    unit=sa.String(50),
    direction=sa.String(10),
)

findings = _of_run(
    "findings",
    tool=sa.String(100),
    rule=sa.String(200),
    message=sa.String(4000),
    file=sa.String(4000),
    line=sa.Integer,
    level=sa.String(10),
    is_new=sa.Boolean,
)

products = _of_run(
    "products",
    sa.Column("machine", sa.String(50)),
    path=sa.String(4000),
    size=sa.BigInteger,
    sha256=sa.String(64),
    contents=sa.String(4000),
)

comparisons = _of_run(
    "comparisons",
    name=sa.String(500),
    state=sa.String(10),
    effect=sa.Float(53),
    half_width=sa.Float(53),
    baseline=sa.String(200),
    device=sa.String(200),
    unit=sa.String(50),
    message=sa.String(4000),
    pairs=sa.Text,
)

# Libraries in cells that have runs, with their summaries, which `results.places` reads and writes.
# Triggers (migration 0005) increment the version and remove the summary when any program changes
# the rows that it is made of.
places = sa.Table(
    "places",
    METADATA,
    sa.Column("library", sa.String(200), primary_key=True),
    sa.Column("cell", sa.String(200), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("format", sa.Integer),
    sa.Column("summary", sa.Text),
)

# The tables of the parts of a run, whose columns are the fields of these types.
PARTS: Mapping[type, sa.Table] = {
    Step: steps,
    TestOutcome: outcomes,
    Measurement: measurements,
    Product: products,
    Finding: findings,
    Comparison: comparisons,
}
