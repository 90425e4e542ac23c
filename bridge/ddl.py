"""The statements of capture: a function and up to four triggers per watched table, and as many
for a table that is audited.

A trigger fires once per statement and sees the rows in transition tables; or, with
`trigger: row`, once per row, and then always, as the apply of logical replication wants
it. TRUNCATE has no rows, so its trigger is a statement's in both.

The function of a durable table runs as its owner, so that a writer needs no right to the
store. It is not compiled: a plan made for many rows, where the next statement touches
one, would cost the application some hundred milliseconds for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from bridge.tables import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.tables import Table

_FUNCTION = sql.SQL(
    """\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql{security}
SET search_path = pg_catalog, pg_temp
SET jit = off{settings}
AS {tag}{body}{tag}"""
)

_TRIGGER = sql.SQL(
    "CREATE TRIGGER {name} AFTER {event} ON {table}{rows}\n"
    "FOR EACH {each} EXECUTE FUNCTION {function}()"
)

_ROWS = {
    "insert": " REFERENCING NEW TABLE AS new_rows",
    "update": " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": " REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


def settings(table: Table) -> tuple[tuple[str, str], ...]:
    """What the function sets beside search_path so that its text does not vary."""
    written = table.key + table.routing + (table.parent.key if table.parent else ())
    # A condition may hold '01/02/2024', and must mean the same here as where rows are read.
    steady = table.where is None and all(column.steady for column in written)
    return () if steady else tuple(SETTINGS.items())


class Function(NamedTuple):
    """What one is to be. `definer`: it runs as its owner. `settings` are those beside the two
    that all have."""

    name: str
    body: str
    settings: tuple[tuple[str, str], ...]
    definer: bool
    comment: str


def function(schema: str, wanted: Function) -> tuple[str, ...]:
    """Statements that create or replace the function and say what it is. No table is locked."""
    identifier = sql.Identifier(schema, wanted.name)
    create = _FUNCTION.format(
        function=identifier,
        security=sql.SQL(" SECURITY DEFINER" if wanted.definer else ""),
        settings=sql.SQL("").join(map(_setting, wanted.settings)),
        tag=sql.SQL(f"${wanted.name}$"),  # made of a hash; the body does not contain it
        body=sql.SQL(wanted.body),
    )
    comment = sql.Literal(wanted.comment)
    describe = sql.SQL("COMMENT ON FUNCTION {}() IS {}").format(identifier, comment)
    # Whoever may run what runs as its owner could put it on a table of theirs.
    revoke = [sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(identifier)]
    statements = [create, describe, *(revoke if wanted.definer else ())]
    return tuple(statement.as_string(None) for statement in statements)


def drop(schema: str, name: str) -> str:
    """DROP FUNCTION, which fails while a trigger uses it."""
    statement = sql.SQL("DROP FUNCTION IF EXISTS {}()").format(sql.Identifier(schema, name))
    return statement.as_string(None)


def trigger(name: str, event: str, table: Table, function: sql.Identifier) -> Iterator[str]:
    """CREATE TRIGGER; `event` is one of insert, update, delete, truncate."""
    by_row = table.trigger == "row"
    rows = "" if by_row else _ROWS[event]
    create = _TRIGGER.format(
        name=sql.Identifier(name),
        event=sql.SQL(event.upper()),
        table=table.identifier,
        rows=sql.SQL(rows),
        each=sql.SQL("ROW" if by_row and event != "truncate" else "STATEMENT"),
        function=function,
    )
    yield create.as_string(None)
    if by_row:
        yield enable(name, table)


def enable(name: str, table: Table) -> str:
    """ALTER TABLE … ENABLE TRIGGER, which takes the partitions along."""
    how = "ENABLE ALWAYS" if table.trigger == "row" else "ENABLE"
    statement = sql.SQL("ALTER TABLE {} {} TRIGGER {}")
    return statement.format(table.identifier, sql.SQL(how), sql.Identifier(name)).as_string(None)


def _setting(setting: tuple[str, str]) -> sql.Composed:
    name, value = setting
    return sql.SQL("\nSET {} = {}").format(sql.Identifier(name), sql.Literal(value))
