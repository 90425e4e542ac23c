"""Who owns what writes to the bridge's schema: its functions, and what they write to. Pure.

A function that runs as its owner and what it writes to have the same owner, so that no
write of the application can fail for want of a right. With `definer` that is a role which
owns nothing else; without, it is whoever made them. Stores go first: whoever migrates is a
member of the role, so functions of either owner can write in between.

`definer` needs CREATE on the schema at the moment when something becomes its own, and has it
no longer than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from bridge import event_store, storage
from bridge.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.installed import Installed

ALL_WAIT = "ACCESS EXCLUSIVE"
"""The lock of ALTER TABLE: readers and writers wait."""

_ENTER = sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}")
_OPEN = sql.SQL("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}")
_CLOSE = sql.SQL("REVOKE CREATE ON SCHEMA {schema} FROM {role}")
_TABLE = sql.SQL("ALTER TABLE {} OWNER TO {}")
_FUNCTION = sql.SQL("ALTER FUNCTION {}({}) OWNER TO {}")


class Writer(NamedTuple):
    """A function that runs as its owner, by its name and types, and the store it writes to."""

    name: str
    arguments: str
    store: str


def publishing() -> Iterator[Writer]:
    """The functions that applications call."""
    for name in event_store.FUNCTIONS:
        yield Writer(name, event_store.ARGUMENTS[name], "events")


def steps(
    schema: str,
    installed: Installed,
    stores: Iterable[str],
    writers: Iterable[Writer],
    definer: str | None,
) -> Iterator[Step]:
    """What gives these stores and functions to whom they should belong; they are there by then."""
    if definer is not None:
        for store in sorted(stores):
            if installed.owners.get(store) != definer:
                yield _store(schema, store, installed.owners.get(store), definer)
    found = {one.name: one for one in (*installed.functions, *installed.events.functions)}
    for writer in writers:
        function = found.get(writer.name)
        able = function is None or function.able
        owner = function.owner if function else None
        wanted = definer or (None if able else installed.owners.get(writer.store))
        if wanted is not None and (owner != wanted or not able):
            yield _function(schema, writer, owner, wanted, able=able, own=wanted == definer)


def _store(schema: str, store: str, owner: str | None, role: str) -> Step:
    tables = _tables(schema, store)
    give = [_TABLE.format(table, sql.Identifier(role)) for table in tables]
    back = [_TABLE.format(table, sql.Identifier(owner)) for table in tables if owner]
    return Step(
        schema,
        f"{schema}.{store} belongs to {owner}" if owner else f"{schema}.{store} is new",
        f"give {store} to {role}",
        _handed(schema, role, give),
        ALL_WAIT,
        tuple(statement.as_string(None) for statement in back),
        f"{schema}.{store}",
        grave=False,
    )


def _function(
    schema: str, writer: Writer, owner: str | None, role: str, *, able: bool, own: bool
) -> Step:
    finding = f"runs as {owner}" if owner else "is new"
    finding += "" if able else f", who may not write to {schema}.{writer.store}"
    give = _owned(schema, writer, role)
    entered = (_composed(_ENTER, schema, role), give.as_string(None))
    return Step(
        schema,
        f"function {writer.name} {finding}",
        f"give function {writer.name} to {role}",
        _handed(schema, role, [give]) if own else entered,
        undo=(_owned(schema, writer, owner).as_string(None),) if owner else (),
        grave=not able,
    )


def _owned(schema: str, writer: Writer, role: str) -> sql.Composed:
    name, arguments = sql.Identifier(schema, writer.name), sql.SQL(writer.arguments)
    return _FUNCTION.format(name, arguments, sql.Identifier(role))


def _handed(schema: str, role: str, statements: list[sql.Composed]) -> tuple[str, ...]:
    opened, closed = _composed(_OPEN, schema, role), _composed(_CLOSE, schema, role)
    return (opened, *(statement.as_string(None) for statement in statements), closed)


def _composed(statement: sql.SQL, schema: str, role: str) -> str:
    parts = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    return statement.format(**parts).as_string(None)


def _tables(schema: str, store: str) -> list[sql.Identifier]:
    if store == "events":
        return [sql.Identifier(schema, name) for name in sorted(event_store.TABLES)]
    return storage.relations(schema, store)
