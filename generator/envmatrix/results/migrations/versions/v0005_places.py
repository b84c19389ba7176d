"""Places: libraries in cells, with their summaries, which triggers invalidate.

Triggers, because any program may write to the store: a change of a run, or of a part of it that
summaries are made of, changes the version of its place and removes the summary.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PARTS = ("outcomes", "measurements", "products")
_NEW_PLACE = """
INSERT INTO places (library, cell, version) VALUES (NEW.library, NEW.cell, 1)
ON CONFLICT (library, cell) DO UPDATE SET version = places.version + 1, summary = NULL;
"""
_OLD_PLACE = """
UPDATE places SET version = version + 1, summary = NULL
WHERE library = OLD.library AND cell = OLD.cell;
"""
_PLACE_OF_NEW_PART = """
UPDATE places SET version = version + 1, summary = NULL
WHERE (library, cell) IN (SELECT library, cell FROM runs WHERE id = NEW.run);
"""
_PLACE_OF_OLD_PART = _PLACE_OF_NEW_PART.replace("NEW.", "OLD.")


def upgrade() -> None:
    op.create_table(
        "places",
        sa.Column("library", sa.String(200), nullable=False),
        sa.Column("cell", sa.String(200), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("format", sa.Integer),
        sa.Column("summary", sa.Text),
        sa.PrimaryKeyConstraint("library", "cell", name="pk_places"),
    )
    op.execute(
        "INSERT INTO places (library, cell, version) SELECT DISTINCT library, cell, 1 FROM runs"
    )
    statements = _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite()
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)


def _sqlite() -> list[str]:
    actions = {
        "INSERT": (_NEW_PLACE, _PLACE_OF_NEW_PART),
        "UPDATE": (_OLD_PLACE + _NEW_PLACE, _PLACE_OF_OLD_PART + _PLACE_OF_NEW_PART),
        "DELETE": (_OLD_PLACE, _PLACE_OF_OLD_PART),
    }
    return [
        f"CREATE TRIGGER {table}_{event.lower()} AFTER {event} ON {table} BEGIN {action} END"
        for event, (of_run, of_part) in actions.items()
        for table, action in [("runs", of_run), *((table, of_part) for table in _PARTS)]
    ]


def _postgresql() -> list[str]:
    # A transaction changes a place once, however many parts it adds: each change of a row makes its
    # next one slower.
    once = " AND xmin <> pg_current_xact_id()::xid;"
    old_part, new_part = (
        text.replace(";", once) for text in (_PLACE_OF_OLD_PART, _PLACE_OF_NEW_PART)
    )
    return [
        _function("run_changed", _if("INSERT", _OLD_PLACE) + _if("DELETE", _NEW_PLACE)),
        _function("part_changed", _if("INSERT", old_part) + _if("DELETE", new_part)),
        _function("all_changed", "UPDATE places SET version = version + 1, summary = NULL;"),
        *(
            _trigger(table, "INSERT OR UPDATE OR DELETE", "ROW", function)
            for table, function in [
                ("runs", "run_changed"),
                *((table, "part_changed") for table in _PARTS),
            ]
        ),
        *(_trigger(table, "TRUNCATE", "STATEMENT", "all_changed") for table in ("runs", *_PARTS)),
    ]


def _if(other_event: str, action: str) -> str:
    """Return an action of all events but one."""
    return f"IF TG_OP <> '{other_event}' THEN {action} END IF; "


def _function(name: str, actions: str) -> str:
    return f"""
CREATE FUNCTION envmatrix_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {actions} RETURN NULL; END $$
"""


def _trigger(table: str, events: str, level: str, function: str) -> str:
    return f"""
CREATE TRIGGER {table}_{function} AFTER {events} ON {table} FOR EACH {level}
EXECUTE FUNCTION envmatrix_{function}()
"""
