"""The store: one file of SQLite, or PostgreSQL by its URL, which many write to at once."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from envmatrix.errors import ConfigurationError, LookupFailed, Problem
from envmatrix.results import tables
from envmatrix.results.records import InvalidRecord, Record
from envmatrix.sessions.outcomes import COUNTED
from envmatrix.store.artifacts import exclusive

# The migrations in their order; `connect` brings older stores to the newest.
_SCHEMAS = ("0001", "0002", "0003", "0004")
SCHEMA = _SCHEMAS[-1]

_WAIT_SECONDS = 30
# Any number of our own: whoever holds this advisory lock migrates.
_MIGRATING = 0x656E766D
# What connections have that only read: SQLite lets them beside those that write.
_READING = {"envmatrix_reads": True}
# No value of a row is larger, in bytes, and no packed text in characters.
_LARGEST_VALUE = 16 << 20
LONGEST_TEXT = 1 << 20
_ROWS_AT_ONCE = 1_000
_EXAMPLE = "postgresql://results@db.example/envmatrix"


@contextmanager
def connect(url: str | Path) -> Iterator[Database]:
    """The store at `url`, or in the file of that path, of the newest schema. ConfigurationError
    where the URL is wrong, LookupFailed where nothing answers or answers with less than a store."""
    address = _address(url)
    with _explained(address):
        _create(address)
        engine = _engine(address)
    try:
        with _explained(address):
            _migrate(engine, address)
        yield Database(engine, address)
    finally:
        engine.dispose()


# The key in a connection's `info` of how many invalid rows of which table a reader met.
LEFT_OUT = "envmatrix.left_out"


class Database:
    def __init__(self, engine: sa.Engine, address: URL) -> None:
        self._engine = engine
        self._address = address

    def add(self, record: Record) -> None:
        """Keep a run and all that it came to, in one transaction; one that is there stays.
        InvalidRecord where the database does not take its values."""
        try:
            with _explained(self._address), self._engine.begin() as connection, _taken():
                _insert(connection, record)
        except _There:
            pass

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the store throughout."""
        engine = self._engine.execution_options(**_READING)
        with _explained(self._address), engine.connect() as connection:
            connection.info.pop(LEFT_OUT, None)
            yield connection


class _There(Exception):
    pass


@contextmanager
def _taken() -> Iterator[None]:
    """What a database says of values, not of itself, as an error about the record."""
    try:
        yield
    except (DataError, OverflowError, TypeError, ValueError) as error:
        raise InvalidRecord("the results store does not take its values") from error


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
        for start in range(0, len(items), _ROWS_AT_ONCE):
            rows = (
                {"run": record.run.id, "position": number, **asdict(item)}
                for number, item in enumerate(items[start : start + _ROWS_AT_ONCE], start)
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


def unpacked(content: bytes, longest: int = LONGEST_TEXT) -> str:
    """Return the text of a packed column, or its first `longest` bytes."""
    try:
        found = zlib.decompressobj().decompress(content, longest) if content and longest else b""
    except (TypeError, zlib.error) as error:
        raise InvalidRecord("a packed text is damaged") from error
    return found.decode("utf-8", "replace")


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
        # What others wrote may be no text, or larger than any that we write.
        connection.text_factory = _text
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().keys() & _READING.keys()
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _create(address: URL) -> None:
    """Make the file of a new SQLite store, whole and with a write-ahead log, in one step.

    SQLite does not wait where two processes change the journal mode of one file: the second fails
    at once with "database is locked", whatever its timeout. So the mode is set in a file that
    nobody else has, and stays with it: https://www.sqlite.org/wal.html#persistence_of_wal_mode
    """
    if address.get_backend_name() != "sqlite" or address.database in (None, "", ":memory:"):
        return
    file = Path(str(address.database))
    if file.exists():
        return
    with exclusive(file.with_name(f"{file.name}.lock")):
        if file.exists():
            return
        scratch = file.with_name(f"{file.name}.new")
        for suffix in ("", "-wal", "-shm"):  # of a process that was killed here
            scratch.with_name(f"{scratch.name}{suffix}").unlink(missing_ok=True)
        with closing(sqlite3.connect(scratch)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        own = address.set(database=str(scratch))
        engine = _engine(own)
        try:
            _migrate(engine, own)
        finally:
            engine.dispose()
        scratch.rename(file)


def _migrate(engine: sa.Engine, address: URL) -> None:
    with engine.execution_options(**_READING).connect() as connection:
        if _schema(connection) == SCHEMA:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        there = _schema(connection)
        if there is not None and there not in _SCHEMAS:
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
    """The address without its password, and without its query, which may have one as well."""
    is_file = address.get_backend_name() == "sqlite"
    plain = address.set(query={}).render_as_string(hide_password=True)
    return f"`{address.database if is_file else plain}`"
