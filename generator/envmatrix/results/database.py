"""The store: one file of SQLite, or PostgreSQL by its URL, which many write to at once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.results import tables
from envmatrix.results.records import Record
from envmatrix.sessions.outcomes import COUNTED

# The newest migration; `connect` brings older stores here.
SCHEMA = "0003"

_WAIT_SECONDS = 30
# Any number of our own: whoever holds this advisory lock migrates.
_MIGRATING = 0x656E766D
# What connections have that only read: SQLite lets them beside those that write.
_READING = {"envmatrix_reads": True}
_EXAMPLE = "postgresql://results@db.example/envmatrix"


@contextmanager
def connect(url: str | Path) -> Iterator[Database]:
    """The store at `url`, or in the file of that path, of the newest schema. ConfigurationError
    where the URL is wrong, LookupFailed where nothing answers or answers with less than a store."""
    address = _address(url)
    with _explained(address):
        engine = _engine(address)
    try:
        with _explained(address):
            _migrate(engine, address)
        yield Database(engine, address)
    finally:
        engine.dispose()


class Database:
    def __init__(self, engine: sa.Engine, address: URL) -> None:
        self._engine = engine
        self._address = address

    def add(self, record: Record) -> None:
        """Keep a run and all that it came to, in one transaction; one that is there stays."""
        try:
            with _explained(self._address), self._engine.begin() as connection:
                _insert(connection, record)
        except _There:
            pass

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the store throughout."""
        engine = self._engine.execution_options(**_READING)
        with _explained(self._address), engine.connect() as connection:
            yield connection


class _There(Exception):
    pass


def _insert(connection: sa.Connection, record: Record) -> None:
    run = asdict(record.run)
    revision = run.pop("revision")
    counts = record.counts
    row = {
        **run,
        **asdict(record.end),
        "revision": revision["id"],
        "branch": revision["branch"],
        "committed": revision["committed"],
        **{str(state): counts.get(state, 0) for state in COUNTED},
    }
    try:
        connection.execute(sa.insert(tables.runs), _fitted(tables.runs, row))
    except IntegrityError as error:
        raise _There from error
    parts: Sequence[tuple[sa.Table, Sequence[Any]]] = (
        (tables.steps, record.steps),
        (tables.outcomes, record.outcomes),
        (tables.measurements, record.measurements),
        (tables.products, record.products),
        (tables.findings, record.findings),
    )
    for table, items in parts:
        if items:
            rows = (
                {"run": record.run.id, "position": number, **asdict(item)}
                for number, item in enumerate(items)
            )
            connection.execute(sa.insert(table), [_fitted(table, row) for row in rows])


def _fitted(table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as its table can hold it: texts cut to their columns and without what no database
    stores, long ones packed."""
    return {name: _value(table.c[name].type, value) for name, value in row.items()}


def _value(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if isinstance(kind, sa.LargeBinary):
        return zlib.compress(value.encode("utf-8", "replace")) if value else b""
    text = value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return text[: kind.length] if isinstance(kind, sa.String) else text


def unpacked(content: bytes) -> str:
    """The text of a packed column."""
    return zlib.decompress(content).decode("utf-8") if content else ""


def _address(url: str | Path) -> URL:
    if isinstance(url, Path):
        url.parent.mkdir(parents=True, exist_ok=True)
        return URL.create("sqlite", database=str(url))
    try:
        address = make_url(url)
    except ArgumentError as error:
        hint = f"write a path, or for example `{_EXAMPLE}`"
        raise ConfigurationError(
            Problem("the address of the results store is no URL", hint=hint)
        ) from error
    if address.get_backend_name() not in {"sqlite", "postgresql"}:
        message = f"a results store cannot be in `{address.get_backend_name()}`"
        raise ConfigurationError(Problem(message, hint=f"SQLite and PostgreSQL can: `{_EXAMPLE}`"))
    if address.drivername == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    return address


def _engine(address: URL) -> sa.Engine:
    if address.get_backend_name() != "sqlite":
        waiting = {"connect_timeout": str(_WAIT_SECONDS), **address.query}
        return sa.create_engine(address.set(query=waiting), pool_size=1, max_overflow=4)
    engine = sa.create_engine(address, connect_args={"timeout": _WAIT_SECONDS})

    # Python's module would begin transactions late, when another's writes can no longer be waited
    # for: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().keys() & _READING.keys()
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _migrate(engine: sa.Engine, address: URL) -> None:
    with engine.execution_options(**_READING).connect() as connection:
        if _schema(connection) == SCHEMA:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        there = _schema(connection)
        if there is not None and there > SCHEMA:
            raise LookupFailed(
                f"the results store {_shown(address)} has schema {there}, "
                f"and this envmatrix knows those up to {SCHEMA}",
                hint="use the envmatrix that the others use, or a newer one",
            )
        _upgrade(connection)


def _schema(connection: sa.Connection) -> str | None:
    """The migration that a store is at; None where it is new."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # 150 ms that an up-to-date store never pays
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)


@contextmanager
def _explained(address: URL) -> Iterator[None]:
    """What the database says, as an error of ours that names it and hides its password."""
    try:
        yield
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        hint = "install it: `pip install 'envmatrix[postgresql]'`"
        raise ConfigurationError(
            Problem(f"nothing here can talk to {_shown(address)}: {error}", hint=hint)
        ) from error
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines() or [type(error).__name__]
        raise LookupFailed(
            f"the results store {_shown(address)} failed: {said[0]}",
            hint="what was run stays in its journal and is stored by the next command",
            details=said[1:],
        ) from error
    except SQLAlchemyError as error:
        raise LookupFailed(f"the results store {_shown(address)} failed: {error}") from error


def _shown(address: URL) -> str:
    is_file = address.get_backend_name() == "sqlite"
    return f"`{address.database if is_file else address.render_as_string(hide_password=True)}`"
