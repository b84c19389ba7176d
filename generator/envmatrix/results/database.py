"""The store: an SQLite file, or PostgreSQL by its URL, with concurrent writers."""

from __future__ import annotations

import errno
import logging
import re
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.machine.remedies import file_remedy
from envmatrix.records import dataclass
from envmatrix.results import tables
from envmatrix.results.records import InvalidRecord, Record
from envmatrix.sessions.outcomes import COUNTED
from envmatrix.text import one_line

# The migrations in their order; `connect` upgrades older stores to the newest.
_SCHEMAS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
SCHEMA = _SCHEMAS[-1]

_WAIT_SECONDS = 30
# An arbitrary number: the holder of this advisory lock migrates.
_MIGRATING = 0x656E766D
# The option of read-only connections: SQLite allows them beside a writer.
_READ_ONLY = {"envmatrix_reads": True}
# Limits of the value of a row, in bytes, and of a packed text, in characters.
_LARGEST_VALUE = 16 << 20
LONGEST_TEXT = 1 << 20
_ROWS_AT_ONCE = 1_000
# Of SQLite: pages in its log before they are moved into the file, and the size of its cache.
_LOG_PAGES = 4_000
_CACHE_KILOBYTES = 32 << 10
_EXAMPLE = "postgresql://results@db.example/envmatrix"
_NOT_LOST = "the results stay in their journals and are stored by the next command"
# It logs a traceback of an interruption, which it raises as well.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
# SQLite would apply a log that stays to the new file.
_MOVE_AWAY = "move the file away, with its `-wal` and `-shm`: the next command makes a new one"
_RESTORE = "restore a backup, or use another database"
# Codes of SQLite, of which the lowest byte is the primary code, for a file that no later command
# can use (https://www.sqlite.org/rescode.html). Statements are the same for all stores: one is an
# error only where the tables are not those of the schema.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB)
# Its codes for what the file system refuses.
_REFUSALS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
# The class of SQLSTATE for the same in PostgreSQL, and what is in it for a user without privileges.
_WRONG_STATEMENT, _FORBIDDEN = "42", "42501"


@contextmanager
def connect(url: str | Path) -> Iterator[Database]:
    """Connect to the store at `url`, a URL or a path, and upgrade it to the newest schema.

    Raise ConfigurationError for an invalid URL, LookupFailed if the database fails.
    """
    address = _address(url)
    with ExitStack() as stack:
        with _database_errors(address):
            _create(address)
            engine = stack.enter_context(_open_migrated(address))
        yield Database(engine, address)


@contextmanager
def connect_read_only(file: Path) -> Iterator[Database]:
    """Connect to the store in a file that cannot be written to. Raise LookupFailed if the database
    fails, or if its schema is not the newest."""
    address = sa.URL.create("sqlite", database=str(file))
    engine = _engine(_read_only_address(file))
    try:
        reading = engine.execution_options(**_READ_ONLY)
        with _database_errors(address), reading.connect() as connection:
            schema = _schema(connection, address)
        if schema != SCHEMA:
            message = f"the results store `{file}` is of another version, and read-only"
            raise LookupFailed(message, hint="copy it to a directory where you can write")
        yield Database(engine, address)
    finally:
        engine.dispose()


def _read_only_address(file: Path) -> sa.URL:
    """Return the address of a file that is only read. SQLite cannot make its log beside it, so the
    file alone counts where the log is absent:
    https://www.sqlite.org/wal.html#read_only_databases"""
    logs = [file.with_name(f"{file.name}-{suffix}") for suffix in ("wal", "shm")]
    query = {"mode": "ro", "uri": "true"}
    if not all(log.exists() for log in logs):
        query["immutable"] = "1"
    return sa.URL.create("sqlite", database=f"file:{quote(str(file.absolute()))}", query=query)


@contextmanager
def _open_migrated(address: sa.URL) -> Iterator[sa.Engine]:
    engine = _engine(address)
    try:
        _migrate(engine, address)
        yield engine
    finally:
        engine.dispose()


# The key in a connection's `info` of the primary keys of invalid rows by table.
LEFT_OUT = "envmatrix.left_out"


@dataclass(frozen=True, slots=True)
class Database:
    engine: sa.Engine
    address: sa.URL

    def add(self, *records: Record) -> None:
        """Store runs with their results in one transaction, unless they are stored already. Raise
        InvalidRecord if the database rejects a value."""
        with self.writing() as connection:
            try:
                # Transactions that lock places in the same order cannot block each other forever.
                _insert(connection, sorted(records, key=_place_of))
            except (sa.exc.DataError, OverflowError, TypeError, ValueError) as error:
                raise InvalidRecord("the results store rejects its values") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a connection for one transaction."""
        with _database_errors(self.address), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a read-only connection to one snapshot of the store."""
        engine = self.engine.execution_options(**_READ_ONLY)
        with _database_errors(self.address), engine.connect() as connection:
            connection.info.pop(LEFT_OUT, None)
            yield connection


def _place_of(record: Record) -> tuple[str, str]:
    return record.run.library, record.run.cell


def _insert(connection: sa.Connection, records: Sequence[Record]) -> None:
    """Insert the runs that are not stored, and their parts. Each part changes the place of a run
    that is there. In SQLite that is a write, so runs follow their parts there, and change their
    place once."""
    if connection.dialect.name == "postgresql":
        _insert_parts(connection, [record for record in records if _insert_run(connection, record)])
        return
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    missing = {record.run.id: record for record in records}
    stored = sa.select(tables.runs.c.id).where(tables.runs.c.id.in_(missing))
    for run_id in connection.scalars(stored).all():
        del missing[run_id]
    _insert_parts(connection, missing.values())
    _insert_rows(connection, tables.runs, map(_run_values, missing.values()))


def _insert_run(connection: sa.Connection, record: Record) -> bool:
    """Insert a run into PostgreSQL; return whether it was not stored already."""
    from sqlalchemy.dialects import postgresql

    statement = postgresql.insert(tables.runs).on_conflict_do_nothing()
    row = dict(zip(_columns(tables.runs), _fit(tables.runs, _run_values(record)), strict=True))
    options = {"preserve_rowcount": True}
    return bool(connection.execute(statement, row, execution_options=options).rowcount)


def _run_values(record: Record) -> list[object]:
    """Return the values of a run in the order of its columns."""
    run, counts = record.run, record.counts
    row = {
        **asdict(run.revision),
        **asdict(run),
        **asdict(record.end),
        "revision": run.revision.id,
        **{str(state): counts.get(state, 0) for state in COUNTED},
    }
    return [row[name] for name in _columns(tables.runs)]


def _insert_parts(connection: sa.Connection, records: Collection[Record]) -> None:
    for table in tables.PARTS.values():
        _insert_rows(connection, table, _part_values(table, records))


def _part_values(table: sa.Table, records: Iterable[Record]) -> Iterator[list[object]]:
    """Yield the values of parts of runs in the order of their columns."""
    columns = _columns(table)
    key = columns.index("run")
    values_of = attrgetter(*columns[:key], *columns[key + 2 :])
    for record in records:
        for position, part in enumerate(getattr(record, table.name)):
            values = [*values_of(part)]
            values[key:key] = record.run.id, position
            yield values


def _insert_rows(
    connection: sa.Connection, table: sa.Table, rows: Iterable[Sequence[object]]
) -> None:
    """Insert many rows, without what SQLAlchemy does for the values of each."""
    statement = sa.insert(table).compile(dialect=connection.dialect)
    names = _columns(table)
    fitting: Iterator[Any] = (_fit(table, row) for row in rows)
    if not statement.positional:
        fitting = (dict(zip(names, row, strict=True)) for row in fitting)
    while batch := list(islice(fitting, _ROWS_AT_ONCE)):
        connection.exec_driver_sql(statement.string, batch)


@cache
def _columns(table: sa.Table) -> tuple[str, ...]:
    return tuple(table.c.keys())


def _fit(table: sa.Table, values: Sequence[object]) -> tuple[object, ...]:
    """Return values that fit the columns of their table: texts truncated and without characters
    that databases reject, long ones compressed."""
    return tuple(
        [
            fits(value) if isinstance(value, str) else value
            for fits, value in zip(_fits(table), values, strict=True)
        ]
    )


@cache
def _fits(table: sa.Table) -> tuple[Callable[[str], str | bytes], ...]:
    """Return how a text becomes a value of each column."""
    return tuple(
        _packed
        if isinstance(column.type, sa.LargeBinary)
        else partial(_truncated, getattr(column.type, "length", None))
        for column in table.c
    )


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "replace")) if text else b""


def _truncated(length: int | None, text: str) -> str:
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return text[:length]


def unpack_text(content: bytes, longest: int = LONGEST_TEXT) -> str:
    """Return the text of a packed column, or its first `longest` bytes."""
    try:
        text = zlib.decompressobj().decompress(content, longest) if content and longest else b""
    except (TypeError, zlib.error) as error:
        raise InvalidRecord("a packed text is damaged") from error
    return text.decode("utf-8", "replace")


def _address(url: str | Path) -> sa.URL:
    if isinstance(url, Path):
        url.parent.mkdir(parents=True, exist_ok=True)
        return sa.URL.create("sqlite", database=str(url))
    try:
        address = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        hint = f"write a path, or for example `{_EXAMPLE}`"
        raise ConfigurationError(
            "the address of the results store is not a URL", hint=hint
        ) from error
    if address.get_backend_name() not in {"sqlite", "postgresql"}:
        message = f"a results store cannot be in `{address.get_backend_name()}`"
        raise ConfigurationError(message, hint=f"SQLite and PostgreSQL can: `{_EXAMPLE}`")
    if address.drivername == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    return address


def _engine(address: sa.URL) -> sa.Engine:
    if address.get_backend_name() != "sqlite":
        waiting = {"connect_timeout": str(_WAIT_SECONDS), **address.query}
        return sa.create_engine(address.set(query=waiting), pool_size=1, max_overflow=4)
    engine = sa.create_engine(address, connect_args={"timeout": _WAIT_SECONDS})

    # Python's module would begin transactions late, when it can no longer wait for other writers:
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    @sa.event.listens_for(engine, "connect")
    def set_up_connection(connection: Any, _: object) -> None:
        connection.isolation_level = None
        # Values written by other programs may be invalid text, or larger than ours.
        connection.text_factory = lambda content: content.decode("utf-8", "replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        connection.execute("PRAGMA synchronous = NORMAL")
        # Large stores have an index page for each test: write each once for many runs.
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA cache_size = {-_CACHE_KILOBYTES}")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin_transaction(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().keys() & _READ_ONLY.keys()
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _create(address: sa.URL) -> None:
    """Create the file of a new SQLite store atomically, with its schema and a write-ahead log.

    SQLite does not wait where two processes change the journal mode of one file: the second fails
    at once with "database is locked", whatever its timeout. So the mode is set in a file that
    nobody else has, and stays with it: https://www.sqlite.org/wal.html#persistence_of_wal_mode
    """
    if address.get_backend_name() != "sqlite" or address.database in (None, "", ":memory:"):
        return
    file = Path(str(address.database))
    if _is_there(file):
        return
    with exclusive(file.with_name(f"{file.name}.lock")):
        if _is_there(file):
            return
        scratch = file.with_name(f"{file.name}.new")
        for suffix in ("", "-wal", "-shm"):  # of a process that was killed here
            scratch.with_name(f"{scratch.name}{suffix}").unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(scratch)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:  # of a full disk
            message = f"the results store {_address_text(address)} cannot be created: {error}"
            raise LookupFailed(message, hint=_NOT_LOST) from error
        with _open_migrated(address.set(database=str(scratch))):
            pass
        scratch.rename(file)


def _is_there(file: Path) -> bool:
    """Return whether a file exists; raise LookupFailed if something else has its name, as a link to
    a disk that is not mounted."""
    if file.is_symlink() and not file.exists():
        message = f"the results store `{file}` is a link to `{file.readlink()}`, which is missing"
        raise LookupFailed(message, hint=f"make it available, or remove the link: {_NOT_LOST}")
    if file.exists() and not file.is_file():
        message = f"the results store `{file}` is not a file"
        raise LookupFailed(message, hint="move it away: the next command makes a file")
    return file.exists()


def _migrate(engine: sa.Engine, address: sa.URL) -> None:
    with engine.execution_options(**_READ_ONLY).connect() as connection:
        if _schema(connection, address) == SCHEMA:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        schema = _schema(connection, address)
        if schema is not None and schema not in _SCHEMAS:
            raise _unknown_schema(schema, address)
        _upgrade(connection)


def _schema(connection: sa.Connection, address: sa.URL) -> str | None:
    """Return the migration that a store is at; None if it is new. Raise LookupFailed if it was at
    one that is lost."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if version is None:
        message = f"the results store {_address_text(address)} has no schema version: it is damaged"
        raise LookupFailed(message, hint=_repair(address))
    return str(version)


def _unknown_schema(schema: str, address: sa.URL) -> LookupFailed:
    store = f"the results store {_address_text(address)} has schema `{one_line(schema)}`"
    if re.fullmatch(r"\d{4}", schema, re.ASCII) and schema > SCHEMA:
        hint = "use the version of envmatrix that the others use, or a newer one"
        return LookupFailed(f"{store}, and this envmatrix knows those up to {SCHEMA}", hint=hint)
    return LookupFailed(f"{store}, which none has: it is damaged", hint=_repair(address))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # 150 ms that an up-to-date store never pays
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)


@contextmanager
def _database_errors(address: sa.URL) -> Iterator[None]:
    """Raise database errors as ConfigurationError or LookupFailed, without the password."""
    try:
        yield
    except (sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        hint = "install it: `pip install 'envmatrix[postgresql]'`"
        raise ConfigurationError(
            f"no driver is installed for {_address_text(address)}: {error}", hint=hint
        ) from error
    except sa.exc.DBAPIError as error:
        lines = str(error.orig).strip().splitlines() or [type(error).__name__]
        raise LookupFailed(
            f"the results store {_address_text(address)} failed: {lines[0]}",
            hint=_hint(error.orig, address),
            details=lines[1:],
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise LookupFailed(f"the results store {_address_text(address)} failed: {error}") from error


def _hint(error: BaseException | None, address: sa.URL) -> str:
    """Return what to do about an error of a database."""
    if _is_damage(error):
        return _repair(address)
    number = _REFUSALS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)
    cause = OSError(number, "", str(address.database)) if number else None
    remedy = file_remedy(cause, cache_directory()) if cause else None
    return f"{remedy}; {_NOT_LOST}" if remedy else _NOT_LOST


def _is_damage(error: BaseException | None) -> bool:
    """Return whether a store is none, or not what its schema says: no later command can use it."""
    sqlite_code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    state = getattr(error, "sqlstate", None) or ""
    is_wrong = state.startswith(_WRONG_STATEMENT) and state != _FORBIDDEN
    return sqlite_code in _DAMAGED or is_wrong


def _repair(address: sa.URL) -> str:
    return _MOVE_AWAY if address.get_backend_name() == "sqlite" else _RESTORE


def _address_text(address: sa.URL) -> str:
    """Return the address without its password and its query, which may contain one as well."""
    is_file = address.get_backend_name() == "sqlite"
    plain = address.set(query={}).render_as_string(hide_password=True)
    return f"`{address.database if is_file else plain}`"
