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
from bridge.refusals import POLICY, RefusedError, Tries, refusal
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import sql

    from bridge.changes import Key, State
    from bridge.cursor import Place
    from bridge.loader import Connection, Loader
    from bridge.routes import Route
    from bridge.tables import Column, Table
    from bridge.topics import Template
    from bridge.viewer import Viewer

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

    async def events(
        self, table: Table, entries: Sequence[Entry], viewer: Viewer = None
    ) -> list[Event]:
        """The entries of one table with their rows as they are now, in order; rows that were
        deleted since, or are not to be seen, are left out."""
        keys = {entry.key: _key(entry.key, len(table.key)) for entry in entries}
        wanted = dict.fromkeys(key for key in keys.values() if key is not None)
        states, poisoned = await self._states(table, list(wanted), viewer) if wanted else ([], [])
        found: dict[Key | None, State | None] = {state.key: state for state in states}
        found |= dict.fromkeys(poisoned) | {None: None}
        told = [Event(e.seq, table.name, found[keys[e.key]], viewer) for e in entries]
        return [event for event in told if event.state is None or event.state.row is not None]

    async def _states(
        self, table: Table, keys: list[Key], viewer: Viewer
    ) -> tuple[list[State], list[Key]]:
        """Of a log no row is lost for others that cannot be read, unless policies are why."""
        tries = None if viewer else Tries(None)
        try:
            return await self._loader.seen_by(viewer).load(table, keys, tries=tries)
        except RefusedError:
            return [], keys

    async def history(
        self, route: Route, values: Sequence[str], place: Place, limit: int, viewer: Viewer
    ) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], About]:
        """The next rows older than the log: (position and key of all that were looked at, and
        of those that are), and what the log was like after it. Raises ProtocolError.

        What a row's transaction wrote to the log is seen by whoever looks for it after the row.
        """
        seen = await self._older(route, [limit, *values, *_given(place)], place, viewer)
        entries = [entry for _, entry in seen]
        async with self._pool.connection() as connection:
            unlogged = self._statements.unlogged
            rows = await self._fetch(connection, unlogged, place.seq, route.table.name, entries)
            about = await self._about(connection)
        old = {n - 1 for (n,) in rows}
        texts = [tuple(found) for found, _ in seen]
        return texts, [found for n, found in enumerate(texts) if n in old], about

    async def _older(
        self, route: Route, values: list[Any], place: Place, viewer: Viewer
    ) -> list[Any]:
        """(texts, entry) of rows, as the viewer sees them."""
        table, template = route.table, route.template
        statement = self._statements.history(
            table, template, begun=bool(place.after), skipping=place.skip is not None
        )
        try:
            return await self._loader.seen_by(viewer).rows(statement, values)
        except POLICY:
            if viewer is None:
                raise
            said = refusal(table, template, None)
            raise ProtocolError(ErrorCode.UNKNOWN_TOPIC, said) from None

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


def _given(place: Place) -> list[str]:
    """What a statement for rows beyond this place needs to be given."""
    return [*(place.after or ()), *([] if place.skip is None else [place.skip])]


def _key(entry: str, width: int) -> Key | None:
    """An entry's key; None for rows that cannot be named, or only by another config's key."""
    try:
        key = json.loads(entry)
    except ValueError:
        return None
    return tuple(key) if isinstance(key, list) and len(key) == width else None
