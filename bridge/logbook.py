"""The log as it is read: its entries, who still writes to it, and the rows they speak of.

A slot of the log is emptied by TRUNCATE, which no snapshot holds up. So what was pruned is
asked after each read of entries, and the answer comes with them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from bridge import log_statements
from bridge.changes import Event
from bridge.drain import Entry
from bridge.errors import DatabaseError, ProtocolError
from bridge.log_statements import LogStatements
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import sql

    from bridge.changes import Key, State
    from bridge.cursor import Place
    from bridge.loader import Connection, Loader
    from bridge.tables import Column, Table
    from bridge.topics import Template

EVERYTHING = 2**62
"""Beyond every number."""


class About(NamedTuple):
    """The log now. `pruned`: entries up to this number are gone; `issued`: the last number."""

    identity: str
    pruned: int
    issued: int


class Holder(NamedTuple):
    """A transaction that wrote to the log; `gid` names one that is prepared, which has no pid."""

    pid: int | None
    application: str
    gid: str


class Span(NamedTuple):
    """What to read of the log: entries up to a number, and how many at most."""

    upto: int
    limit: int


class Logbook:
    """Reads for one bridge; whatever it raises of `psycopg.Error` may pass."""

    def __init__(
        self, pool: Any, loader: Loader, schema: str, settings: sql.Composed | None = None
    ) -> None:
        """`settings`, if given, are what every transaction has to begin with."""
        self._pool = pool
        self._loader = loader
        self._settings = settings
        self._schema = schema
        self._statements = LogStatements(schema)

    async def about(self) -> About:
        async with self._pool.connection() as connection:
            return await self._about(connection)

    async def holders(self) -> frozenset[str]:
        """Transactions that hold a writer's lock on the log, by a name that each keeps."""
        return frozenset(name for (name,) in await self._read(self._statements.holders))

    async def who(self, holder: str) -> Holder | None:
        """What is known of a holder; None if it is gone."""
        rows = await self._read(self._statements.who, holder)
        return Holder(*rows[0]) if rows else None

    async def prepares(self) -> bool:
        """Whether transactions may be prepared here, and so do not ring."""
        statement = "SELECT current_setting('max_prepared_transactions') <> '0'"
        ((prepares,),) = await self._read(statement)
        return bool(prepares)

    async def first(self) -> int:
        """The number up to which entries may be pruned next."""
        ((first,),) = await self._read(self._statements.first)
        return int(first)

    async def entries(
        self, after: int, limit: int, *, upto: int = EVERYTHING, source: str | None = None
    ) -> tuple[list[Entry], About]:
        """Entries beyond `after`, of one table or of all, and what the log was like after it."""
        only = () if source is None else (source,)
        statement = self._statements.entries if source is None else self._statements.entries_of
        async with self._pool.connection() as connection:
            rows = await self._fetch(connection, statement, after, upto, limit, *only)
            return [Entry(*row) for row in rows], await self._about(connection)

    async def matching(
        self, table: Table, template: Template, values: Sequence[str], place: Place, span: Span
    ) -> tuple[list[Entry], About]:
        """The same of one topic, but for entries whose rows are none of it or left out."""
        skip = () if place.skip is None else (place.skip, place.until)
        statement = self._statements.matching(table, template, skipping=bool(skip))
        upto, limit = span
        async with self._pool.connection() as connection:
            rows = await self._fetch(
                connection, statement, place.seq, upto, limit, table.name, *values, *skip
            )
            return [Entry(*row) for row in rows], await self._about(connection)

    async def events(self, table: Table, entries: Sequence[Entry]) -> list[Event]:
        """The entries of one table with their rows as they are now, in order; rows that were
        deleted since are left out."""
        keys = {entry.key: _key(entry.key, len(table.key)) for entry in entries}
        wanted = dict.fromkeys(key for key in keys.values() if key is not None)
        states, poisoned = await self._loader.load(table, list(wanted)) if wanted else ([], [])
        found: dict[Key | None, State | None] = {state.key: state for state in states}
        found |= dict.fromkeys(poisoned) | {None: None}
        events = [Event(entry.seq, table.name, found[keys[entry.key]]) for entry in entries]
        return [event for event in events if event.state is None or event.state.row is not None]

    async def history(
        self, table: Table, template: Template, values: Sequence[str], place: Place, limit: int
    ) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], About]:
        """The next rows older than the log: (position and key of all that were looked at, and
        of those that are), and what the log was like after it."""
        assert place.after is not None
        statement = self._statements.history(
            table, template, begun=bool(place.after), skipping=place.skip is not None
        )
        skip = () if place.skip is None else (place.skip,)
        async with self._pool.connection() as connection:
            rows = await self._fetch(
                connection, statement, place.seq, limit, *values, *place.after, *skip
            )
            about = await self._about(connection)
        seen = [(tuple(texts), old) for texts, old in rows]
        return [texts for texts, _ in seen], [texts for texts, old in seen if old], about

    async def beyond(self, position: Column, positions: Sequence[str], after: str) -> set[int]:
        """Which of these positions (JSON) are beyond that one (text), by index."""
        statement = log_statements.beyond(position)
        return {n - 1 for (n,) in await self._read(statement, list(positions), after)}

    async def spelled(self, columns: Sequence[Column], texts: Sequence[str]) -> list[str] | None:
        """The texts as rows have them; None where one is no value of its column."""
        try:
            ((right,),) = await self._read(log_statements.typed(columns), *texts)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError):
            return None
        return list(right)

    async def check(self, table: Table, template: Template, values: Sequence[str]) -> None:
        """Raises ProtocolError unless these values make a topic, in its one spelling."""
        columns = log_statements.columns(table, template)
        right = await self.spelled(columns, values) if values else []
        if right is None:
            message = f"no such topic of {table.name} ({template.text}): a value cannot be read"
            raise ProtocolError(ErrorCode.UNKNOWN_TOPIC, message)
        if right != list(values):
            topic = template.topic(dict(zip(template.columns, right, strict=True)))
            raise ProtocolError(ErrorCode.UNKNOWN_TOPIC, f"no such topic; it is written {topic}")

    async def _about(self, connection: Connection) -> About:
        rows = await self._fetch(connection, self._statements.about)
        if not rows:
            raise DatabaseError(f"{self._schema}.log_about is empty; run `rowcast migrate`")
        return About(*rows[0])

    async def _read(self, statement: Any, *values: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await self._fetch(connection, statement, *values)

    async def _fetch(self, connection: Connection, statement: Any, *values: Any) -> list[Any]:
        if self._settings is None:
            return await _execute(connection, statement, values)
        async with connection.transaction():
            await connection.execute(self._settings)
            return await _execute(connection, statement, values)


async def _execute(connection: Connection, statement: Any, values: tuple[Any, ...]) -> list[Any]:
    # A raw cursor leaves `%` alone, which names may contain.
    return await (await psycopg.AsyncRawCursor(connection).execute(statement, values)).fetchall()


def _key(entry: str, width: int) -> Key | None:
    """An entry's key; None for rows that cannot be named, or only by another config's key."""
    try:
        key = json.loads(entry)
    except ValueError:
        return None
    return tuple(key) if isinstance(key, list) and len(key) == width else None
