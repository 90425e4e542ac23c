"""Keys and topics → what they are now, read in batches.

One SELECT per table and batch. PostgreSQL writes the JSON, and the version of the read
is computed in the same statement as the rows: (epoch, transactions completed), which
no later read of this primary can ever undercut (see docs/how-it-works.md). A row that is
too large stays there, and counts as gone and as refused. A value
that PostgreSQL cannot cast fails its whole statement; so a failed batch is split until
the culprit stands alone, and everything else is read.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import psycopg

from bridge.changes import Snapshot, State
from bridge.cursor import Moment
from bridge.errors import DatabaseError, ProtocolError
from bridge.opening import Opening
from bridge.parameters import Ahead, array, arrays
from bridge.refusals import POLICY, TRIES, VALUE, RaisedError, Tries, raised, refusal
from bridge.statements import Statements
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import sql

    from bridge.changes import Key
    from bridge.config.auth import RlsConfig
    from bridge.tables import Table
    from bridge.topics import Template
    from bridge.viewer import Viewer

Connection: TypeAlias = psycopg.AsyncConnection[Any]

_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class Loader:
    """Reads states and snapshots for one bridge; `schema` is where its epoch lives."""

    def __init__(
        self,
        pool: Any,
        schema: str,
        *,
        snapshot_rows: int = 10_000,
        row_size: int = 2**20,
        settings: sql.Composed | None = None,
        rls: RlsConfig | None = None,
    ) -> None:
        """`row_size` is bytes of a row's JSON; `settings` and `rls` are as in `Opening`."""
        self._pool = pool
        self._opening = Opening(settings, rls)
        self._poison = VALUE
        self._limit = snapshot_rows
        self._statements = Statements(schema, snapshot_rows, row_size)
        self.reads = 0

    def seen_by(self, viewer: Viewer) -> Loader:
        """One that reads what PostgreSQL's policies show to this viewer."""
        if viewer == self._opening.viewer:
            return self
        other = copy(self)
        other._opening, other._poison = self._opening.seen_by(viewer), POLICY
        return other

    async def load(
        self,
        table: Table,
        keys: Sequence[Key],
        within: Connection | None = None,
        tries: Tries | None = None,
    ) -> tuple[list[State], list[Key]]:
        """The keys' states, and the keys that PostgreSQL refuses to read, or has too large rows of.

        `within` reads in a transaction that is open, and does not give up. Raises
        `psycopg.Error` where the database, and not a key, is the reason, and `RefusedError`.
        """
        self._opening.check()
        tries = tries or Tries(None if within else TRIES)
        columns = arrays(keys)
        try:
            rows = await self._read(self._statements.load(table), columns, within)
        except self._poison:
            tries.count()
            if len(keys) == 1:
                return [], list(keys)
            middle = len(keys) // 2
            left = await self.load(table, keys[:middle], within, tries)
            right = await self.load(table, keys[middle:], within, tries)
            return left[0] + right[0], left[1] + right[1]
        states = [_state(keys[n - 1], version, *rest) for version, n, *rest in rows]
        return states, [keys[n - 1] for _, n, _, texts, row in rows if texts and row is None]

    def ahead(self, table: Table, keys: Sequence[Key]) -> Ahead | None:
        """Have a changelog read them; None where reads begin with something of their own."""
        if self._opening or self._opening.rls is not None:
            return None
        return Ahead(table.name, keys, self._statements.ahead(table))

    async def rows(self, statement: sql.Composed, values: list[Any]) -> list[Any]:
        """What any other statement reads. Raises whatever it may."""
        self._opening.check()
        return await self._read(statement, values, expect=False)

    async def parents(
        self, table: Table, keys: Sequence[Key], tries: Tries | None = None
    ) -> list[Key]:
        """The keys, in the parent's table, of the rows that these rows belong to now."""
        assert table.parent is not None
        tries = tries or Tries(TRIES)
        columns = arrays(keys)
        statement = self._statements.parents(table, table.parent)
        try:
            rows = await self._read(statement, columns, expect=False)
        except self._poison:
            tries.count()
            if len(keys) == 1:
                return []
            middle = len(keys) // 2
            left = await self.parents(table, keys[:middle], tries)
            return left + await self.parents(table, keys[middle:], tries)
        return [tuple(row) for row in rows if None not in row]

    async def snapshots(
        self, table: Table, template: Template, values: Sequence[tuple[str, ...]]
    ) -> list[Snapshot | ProtocolError]:
        """For each topic of the template, given by its values: its rows, or why there are none.

        Raises `psycopg.Error` where the database, and not a value, is the reason.
        """
        self._opening.check()
        try:
            rows = await self._read(self._statements.snapshot(table, template), _columns(values))
        except self._poison:
            if len(values) == 1:
                return [await self._set_aside(table, template, values[0])]
            middle = len(values) // 2
            return [
                *await self.snapshots(table, template, values[:middle]),
                *await self.snapshots(table, template, values[middle:]),
            ]
        large = {n - 1 for _, n, _, key, row, _ in rows if key is not None and row is None}
        answers = self._answers(template, values, rows)
        for n in (n for n in large if isinstance(answers[n], Snapshot)):
            answers[n] = await self._set_aside(table, template, values[n])
        return answers

    async def _set_aside(
        self, table: Table, template: Template, value: tuple[str, ...]
    ) -> Snapshot | ProtocolError:
        """A topic that cannot be read as a whole: all rows of it but those that cannot.

        Its keys are read first, then the rows in ever smaller parts, in one transaction
        that sees one moment throughout, so that the snapshot is still one.
        """
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_ONE_MOMENT)
            await self._opening.say(connection)
            try:
                statement = self._statements.keys(table, template)
                found = await self._read(statement, _columns([value]), connection)
            except self._poison:
                error = await self._fault(table, template, value, connection)
                return ProtocolError(ErrorCode.UNKNOWN_TOPIC, refusal(table, template, error))
            keys = [tuple(texts) for _, texts in found if texts is not None]
            if len(keys) > self._limit:  # counted with those that are left out
                return self._too_large()
            states, refused = await self.load(table, keys, connection) if keys else ([], [])
        rows = [(state.key_json, state.row) for state in states if state.row is not None]
        return Snapshot(rows, found[0][0], tuple(refused))

    async def _fault(
        self, table: Table, template: Template, value: tuple[str, ...], connection: Connection
    ) -> Exception | None:
        """What is wrong with a topic's value by itself; None if it is not that."""
        if self._opening.viewer is not None:
            return None
        statement = self._statements.typed(table, template)
        try:
            await self._read(statement, _columns([value]), connection, expect=False)
        except self._poison as error:
            return error
        return None

    async def _read(
        self,
        statement: sql.Composed,
        columns: Sequence[str],
        within: Connection | None = None,
        *,
        expect: bool = True,
    ) -> list[Any]:
        self.reads += 1
        if within is not None:
            async with within.transaction():
                rows = await self._as_viewer(within, statement, columns)
        else:
            async with self._pool.connection() as connection:
                rows = await self._fetch(connection, statement, columns)
        if expect and not rows:
            raise DatabaseError("the bridge's epoch is gone; run `rowcast migrate`")
        return rows

    async def _fetch(
        self, connection: Connection, statement: sql.Composed, columns: Sequence[str]
    ) -> list[Any]:
        if not self._opening:
            return await _fetch(connection, statement, columns)
        async with connection.transaction():
            await self._opening.say(connection)
            return await self._as_viewer(connection, statement, columns)

    async def _as_viewer(
        self, connection: Connection, statement: sql.Composed, columns: Sequence[str]
    ) -> list[Any]:
        try:
            return await _fetch(connection, statement, columns)
        except psycopg.Error as error:
            if self._opening.viewer is not None and raised(error):
                raise RaisedError from error
            raise

    def _answers(
        self, template: Template, values: Sequence[tuple[str, ...]], rows: list[Any]
    ) -> list[Snapshot | ProtocolError]:
        found: list[list[tuple[str, str]]] = [[] for _ in values]
        spelled: list[tuple[str, ...]] = list(values)
        version, *_, moment = rows[0]
        for _, n, spelling, key, row, _ in rows:
            spelled[n - 1] = tuple(spelling)
            if key is not None:
                found[n - 1].append((key, row))
        read = Moment.read(moment)
        return [
            self._answer(template, asked, right, Snapshot(topic, version, moment=read))
            for asked, right, topic in zip(values, spelled, found, strict=True)
        ]

    def _answer(
        self,
        template: Template,
        asked: tuple[str, ...],
        right: tuple[str, ...],
        found: Snapshot,
    ) -> Snapshot | ProtocolError:
        if asked != right:
            topic = template.topic(dict(zip(template.columns, right, strict=True)))
            return ProtocolError(ErrorCode.UNKNOWN_TOPIC, f"no such topic; it is written {topic}")
        return self._limited(found)

    def _limited(self, found: Snapshot) -> Snapshot | ProtocolError:
        return self._too_large() if len(found.rows) > self._limit else found

    def _too_large(self) -> ProtocolError:
        return ProtocolError(
            ErrorCode.SNAPSHOT_TOO_LARGE,
            f"more than {self._limit} rows; follow a narrower topic (limits.snapshot_rows)",
        )


async def _fetch(
    connection: Connection, statement: sql.Composed, columns: Sequence[str]
) -> list[Any]:
    # A raw cursor leaves `%` alone, which names may contain.
    return await (await psycopg.AsyncRawCursor(connection).execute(statement, columns)).fetchall()


def _columns(values: Sequence[tuple[str, ...]]) -> list[str]:
    """Values of topics → one array a column; a template without any still needs a row to join."""
    return arrays(values) or [array("" for _ in values)]


def read_ahead(ahead: Ahead, text: str) -> list[State]:
    """The states that a changelog has read, but for rows that are too large."""
    rows = msgspec.json.decode(text)
    states = [_state(ahead.keys[n - 1], version, *rest) for version, n, *rest in rows]
    large = {ahead.keys[n - 1] for _, n, _, texts, row in rows if texts and row is None}
    return [state for state in states if state.key not in large]


def _state(
    key: Key, version: str, key_json: str, texts: list[str | None] | None, row: str | None
) -> State:
    if texts is None or row is None:
        return State(key, key, key_json, None, version)
    return State(key, tuple(texts), key_json, row, version)
