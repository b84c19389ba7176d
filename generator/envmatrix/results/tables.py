"""The tables of the store in the newest schema. Pure.

A change here needs a migration in `migrations/versions/`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
)

from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import COUNTED, Measurement, Step, TestOutcome
from envmatrix.sessions.products import Product

METADATA = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

runs = Table(
    "runs",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("library", String(200), nullable=False),
    Column("cell", String(200), nullable=False),
    Column("verb", String(20), nullable=False),
    Column("state", String(10), nullable=False),
    Column("cause", String(20)),
    Column("message", String(4000), nullable=False),
    Column("started", Float(53), nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("revision", String(200), nullable=False),
    Column("branch", String(500), nullable=False),
    Column("committed", Float(53)),
    Column("image", String(500), nullable=False),
    Column("digest", String(100), nullable=False),
    Column("host", String(255), nullable=False),
    Column("shard", String(20), nullable=False),
    Column("extent", String(20), nullable=False, server_default=""),
    *(Column(state, Integer, nullable=False) for state in COUNTED),
    Index(None, "library", "cell", "verb", "started"),
    Index(None, "started"),
)


def _of_run(name: str, *columns: Column[object]) -> Table:
    """Return a table of ordered parts of runs."""
    return Table(
        name,
        METADATA,
        Column("run", String(36), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
        *columns,
    )


steps = _of_run(
    "steps",
    Column("name", String(50), nullable=False),
    Column("status", Integer, nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("log", LargeBinary, nullable=False),
)

outcomes = _of_run(
    "outcomes",
    # Short enough for a key of PostgreSQL's indexes, whatever its characters.
    Column("name", String(600), nullable=False),
    Column("state", String(10), nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("message", String(4000), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("output", LargeBinary, nullable=False),
)
Index("ix_outcomes_name", outcomes.c.name, outcomes.c.run)
# Nearly all outcomes are passed or skipped: this partial index finds the others. A database uses it
# for queries with the same condition.
REMARKABLE = and_(outcomes.c.state != "passed", outcomes.c.state != "skipped")
Index(
    "ix_outcomes_remarkable",
    outcomes.c.run,
    sqlite_where=REMARKABLE,
    postgresql_where=REMARKABLE,
)

measurements = _of_run(
    "measurements",
    Column("name", String(500), nullable=False),
    Column("value", Float(53), nullable=False),
    Column("unit", String(50), nullable=False),
    Column("direction", String(10), nullable=False),
)

findings = _of_run(
    "findings",
    Column("tool", String(100), nullable=False),
    Column("rule", String(200), nullable=False),
    Column("message", String(4000), nullable=False),
    Column("file", String(4000), nullable=False),
    Column("line", Integer, nullable=False),
    Column("level", String(10), nullable=False),
    Column("is_new", Boolean, nullable=False),
)

products = _of_run(
    "products",
    Column("path", String(4000), nullable=False),
    Column("machine", String(50)),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)

# The tables of the parts of a run, whose columns are the fields of these types.
PARTS: Mapping[type, Table] = {
    Step: steps,
    TestOutcome: outcomes,
    Measurement: measurements,
    Product: products,
    Finding: findings,
}
