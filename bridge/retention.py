"""Letting go of what was kept: a store goes on to its next slot, which is emptied before.

The rules:

- What is younger than `retention` stays, as long as the store is within its size: a slot
  is written to for a seventh of the time, or until it holds an eighth of the size.
- Of `audit` the size does not count: what was done is kept for its time, or the disk is full.
- What goes is noted *before* it goes, as the last transaction (`changes`) or number (`log`)
  of it, so that nobody takes what is left for everything there was.
- One instance at a time, and nobody waits: where a transaction still writes to the oldest
  slot, or somebody reads it, the next look tries again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from bridge import storage

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PATIENCE = "200ms"
"""How long PostgreSQL may let us, and so those who come behind us, wait for a lock."""

_LOOK = """
SELECT c.last_value, extract(epoch FROM clock_timestamp() - a.began)::float8,
       (SELECT sum(pg_total_relation_size(i.inhrelid))::int8 FROM pg_inherits i
        WHERE i.inhparent = {store_name}::regclass),
       pg_total_relation_size(format({leaf_name}, c.last_value % {slots})::regclass)
FROM {counter} c, {about} a
"""

_ALONE = "SELECT pg_try_advisory_xact_lock({key})"

_PRUNE = """
UPDATE {about} SET began = clock_timestamp(),
    pruned = greatest(pruned, (SELECT {number} FROM {leaf}))
"""
_BEGIN = "UPDATE {about} SET began = clock_timestamp()"

_NUMBER = {"changes": "max(xid)", "log": "max(seq)"}


class Size(NamedTuple):
    """A store now: `slot` counts the slots begun, `age` is seconds, the others bytes."""

    slot: int
    age: float
    total: int
    newest: int


class Retention:
    """Of one store. Methods raise `psycopg.Error`."""

    def __init__(self, schema: str, store: str, keep: float, size: int | None) -> None:
        """`keep` in seconds, `size` in bytes or unbounded."""
        self._schema = schema
        self.store = store
        self._age = keep / (storage.SLOTS - 1)
        self._size = math.inf if size is None else size // storage.SLOTS
        self._counter = sql.Identifier(schema, f"{store}_slot")

    async def look(self, connection: AsyncConnection[Any]) -> Size | None:
        """How large it is; None after a crash, until there is a new history."""
        store, about = self._parts()
        leaf = sql.Identifier(self._schema, f"{self.store}_%s").as_string(None)
        statement = sql.SQL(_LOOK).format(
            store_name=sql.Literal(store.as_string(None)),
            leaf_name=sql.Literal(leaf),
            slots=sql.Literal(storage.SLOTS),
            counter=self._counter,
            about=about,
        )
        row = await (await connection.execute(statement)).fetchone()
        return Size(*row) if row else None

    def due(self, size: Size) -> bool:
        return size.age >= self._age or size.newest >= self._size

    async def turn(self, connection: AsyncConnection[Any], size: Size) -> bool:
        """Go on to the next slot; False if it is still in use, or another instance does it."""
        try:
            async with connection.transaction():
                return await self._turn(connection, size.slot + 1)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return False

    async def _turn(self, connection: AsyncConnection[Any], slot: int) -> bool:
        await connection.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'".encode())
        key = sql.Literal(f"{self._schema}.{self.store} turn")
        alone = sql.SQL(_ALONE).format(key=sql.SQL("hashtextextended({}, 0)").format(key))
        if await (await connection.execute(alone)).fetchone() != (True,):
            return False
        current = sql.SQL("SELECT last_value + 1 FROM {}").format(self._counter)
        if await (await connection.execute(current)).fetchone() != (slot,):
            return False
        await self._empty(connection, slot)
        # Not transactional: whoever writes from here on writes there.
        name = sql.Literal(self._counter.as_string(None))
        await connection.execute(sql.SQL("SELECT setval({}, {})").format(name, sql.Literal(slot)))
        return True

    async def _empty(self, connection: AsyncConnection[Any], slot: int) -> None:
        _, about = self._parts()
        leaf = storage.leaf(self._schema, self.store, slot % storage.SLOTS)
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(leaf))
        number = _NUMBER.get(self.store)
        prune = sql.SQL(_PRUNE if number else _BEGIN)
        noted = prune.format(about=about, number=sql.SQL(number or ""), leaf=leaf)
        await connection.execute(noted)
        await connection.execute(sql.SQL("TRUNCATE {}").format(leaf))

    def _parts(self) -> tuple[sql.Identifier, sql.Identifier]:
        store = storage.relation(self._schema, self.store)
        return store, storage.about(self._schema, self.store)
