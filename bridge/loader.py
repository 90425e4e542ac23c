"""Keys and topics → what they are now, read in batches.

One SELECT per table and batch. PostgreSQL writes the JSON, and the version of the read
is computed in the same statement as the rows: (epoch, transactions completed), which
no later read of this primary can ever undercut (see docs/how-it-works.md). A value
that PostgreSQL cannot cast fails its whole statement; so a failed batch is split until
the culprit stands alone, and everything else is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from bridge.changes import Snapshot, State
from bridge.errors import DatabaseError, ProtocolError
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.changes import Key
    from bridge.tables import Column, Table
    from bridge.topics import Template

# What is said of a value rather than of the database: class 22 (data exception), 23 (a
# domain's constraint), 54 (program limit), or a character that the encoding does not
# have. Such a batch is split; any other failure is tried again whole.
_POISON = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    UnicodeError,
)

_VERSION = """
SELECT lpad(to_hex(e.epoch), 16, '0') || '.' || lpad(to_hex(
    pg_snapshot_xmax(s)::text::bigint - (SELECT count(*) FROM pg_snapshot_xip(s))), 16, '0')
    AS version
FROM {epoch} e, pg_current_snapshot() s
"""

_LOAD = """
SELECT v.version, k.n, k.key, t.texts, t.row
FROM ({version}) v,
     LATERAL (SELECT {raw}, n, (SELECT to_jsonb(r.*)::text FROM (SELECT {typed}) r) AS key
              FROM unnest({arrays}) WITH ORDINALITY AS u({raw}, n)) k
LEFT JOIN LATERAL (SELECT ARRAY[{texts}] AS texts, {row} AS row FROM {table} t
                   WHERE {match}) t ON true
"""

_SNAPSHOT = """
SELECT v.version, k.n, k.spelling, t.key, t.row
FROM ({version}) v,
     LATERAL (SELECT {raw}, n, {spelling} AS spelling
              FROM unnest({arrays}) WITH ORDINALITY AS u({raw}, n)) k
LEFT JOIN LATERAL (SELECT {key} AS key, {row} AS row FROM {table} t
                   WHERE {match} LIMIT {limit}) t ON true
"""


class Loader:
    """Reads states and snapshots for one bridge; `schema` is where its epoch lives."""

    def __init__(self, pool: Any, schema: str, *, snapshot_rows: int = 10_000) -> None:
        self._pool = pool
        self._limit = snapshot_rows
        self._version = sql.SQL(_VERSION).format(epoch=sql.Identifier(schema, "epoch"))
        self._loads: dict[str, sql.Composed] = {}
        self._snapshots: dict[tuple[str, str], sql.Composed] = {}
        self.reads = 0

    async def load(self, table: Table, keys: Sequence[Key]) -> tuple[list[State], list[Key]]:
        """The keys' states, and the keys that PostgreSQL refuses to read at all.

        Raises `psycopg.Error` where the database, and not a key, is the reason.
        """
        if table.name not in self._loads:
            self._loads[table.name] = self._load_statement(table)
        columns = [list(column) for column in zip(*keys, strict=True)]
        try:
            rows = await self._read(self._loads[table.name], columns)
        except _POISON:
            if len(keys) == 1:
                return [], list(keys)
            middle = len(keys) // 2
            left, right = (
                await self.load(table, keys[:middle]),
                await self.load(table, keys[middle:]),
            )
            return left[0] + right[0], left[1] + right[1]
        return [_state(keys[n - 1], version, *rest) for version, n, *rest in rows], []

    async def snapshots(
        self, table: Table, template: Template, values: Sequence[tuple[str, ...]]
    ) -> list[Snapshot | ProtocolError]:
        """For each topic of the template, given by its values: its rows, or why there are none.

        Raises `psycopg.Error` where the database, and not a value, is the reason.
        """
        name = table.name, template.text
        if name not in self._snapshots:
            self._snapshots[name] = self._snapshot_statement(table, template)
        # A template without columns still needs one row to join with.
        columns = [list(c) for c in zip(*values, strict=True)] or [[""] * len(values)]
        try:
            rows = await self._read(self._snapshots[name], columns)
        except _POISON as error:
            if len(values) == 1:
                return [ProtocolError(ErrorCode.UNKNOWN_TOPIC, _refusal(table, template, error))]
            middle = len(values) // 2
            return [
                *await self.snapshots(table, template, values[:middle]),
                *await self.snapshots(table, template, values[middle:]),
            ]
        return self._answers(template, values, rows)

    async def _read(self, statement: sql.Composed, columns: list[list[str]]) -> list[Any]:
        self.reads += 1
        async with self._pool.connection() as connection:
            # A raw cursor leaves `%` alone, which names may contain.
            cursor = await psycopg.AsyncRawCursor(connection).execute(statement, columns)
            rows: list[Any] = await cursor.fetchall()
        if not rows:
            raise DatabaseError("the bridge's epoch is gone; run `rowcast migrate`")
        return rows

    def _answers(
        self, template: Template, values: Sequence[tuple[str, ...]], rows: list[Any]
    ) -> list[Snapshot | ProtocolError]:
        found: list[list[tuple[str, str]]] = [[] for _ in values]
        spelled: list[tuple[str, ...]] = list(values)
        version = ""
        for version, n, spelling, key, row in rows:  # noqa: B007
            spelled[n - 1] = tuple(spelling)
            if key is not None:
                found[n - 1].append((key, row))
        return [
            self._answer(template, asked, right, topic, version)
            for asked, right, topic in zip(values, spelled, found, strict=True)
        ]

    def _answer(
        self,
        template: Template,
        asked: tuple[str, ...],
        right: tuple[str, ...],
        rows: list[tuple[str, str]],
        version: str,
    ) -> Snapshot | ProtocolError:
        if asked != right:
            topic = template.topic(dict(zip(template.columns, right, strict=True)))
            return ProtocolError(ErrorCode.UNKNOWN_TOPIC, f"no such topic; it is written {topic}")
        if len(rows) > self._limit:
            return ProtocolError(
                ErrorCode.SNAPSHOT_TOO_LARGE,
                f"more than {self._limit} rows; follow a narrower topic (limits.snapshot_rows)",
            )
        return Snapshot(rows, version)

    def _load_statement(self, table: Table) -> sql.Composed:
        return sql.SQL(_LOAD).format(
            version=self._version,
            raw=_raw(table.key),
            arrays=_arrays(table.key),
            typed=_comma(
                sql.SQL("{} AS {}").format(_cast(n, column), column.identifier)
                for n, column in enumerate(table.key)
            ),
            texts=_comma(column.text("t") for column in table.key + table.routing),
            row=_row(table.columns),
            table=table.identifier,
            match=_match("k", table.key),
        )

    def _snapshot_statement(self, table: Table, template: Template) -> sql.Composed:
        known = {column.name: column for column in table.key + table.routing}
        columns = [known[name] for name in template.columns]
        return sql.SQL(_SNAPSHOT).format(
            version=self._version,
            raw=_raw(columns),
            arrays=_arrays(columns),
            spelling=sql.SQL("ARRAY[{}]::text[]").format(
                _comma(_spelling(n, c) for n, c in enumerate(columns))
            ),
            key=_key(table.key),
            row=_row(table.columns),
            table=table.identifier,
            match=_match("k", columns),
            limit=sql.Literal(self._limit + 1),
        )


def _comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _names(count: int) -> list[sql.Identifier]:
    return [sql.Identifier(f"k{n}") for n in range(count)]


def _raw(columns: Sequence[Column]) -> sql.Composed:
    return _comma(_names(max(1, len(columns))))


def _arrays(columns: Sequence[Column]) -> sql.Composed:
    return _comma(sql.SQL(f"${n}::text[]") for n in range(1, max(1, len(columns)) + 1))


def _cast(n: int, column: Column, alias: str = "u") -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Identifier(alias, f"k{n}"), sql.SQL(column.type))


def _spelling(n: int, column: Column) -> sql.Composed:
    """The text this value has when it comes from a row: what `Column.text` writes of its cast."""
    typed = sql.SQL("SELECT {} AS {}").format(_cast(n, column), column.identifier)
    return sql.SQL("(SELECT {} FROM ({}) s)").format(column.text("s"), typed)


def _match(alias: str, columns: Sequence[Column]) -> sql.Composable:
    """The index finds equals; the text picks the one that is written exactly so.

    The collation says *exactly*: under a nondeterministic one, other spellings are equal.
    """
    if not columns:
        return sql.SQL("true")
    return sql.SQL(" AND ").join(
        sql.SQL('t.{} = {} AND {} = {} COLLATE "C"').format(
            column.identifier,
            _cast(n, column, alias),
            column.text("t"),
            sql.Identifier(alias, f"k{n}"),
        )
        for n, column in enumerate(columns)
    )


def _row(columns: Sequence[str]) -> sql.Composed:
    fields = _comma(sql.Identifier("t", name) for name in columns)
    return sql.SQL("(SELECT to_jsonb(r.*)::text FROM (SELECT {}) r)").format(fields)


def _key(columns: Sequence[Column]) -> sql.Composed:
    """A row's key made of its text, as `_LOAD` makes it: a char(5) has blanks, its text none."""
    fields = _comma(
        sql.SQL("{}::{} AS {}").format(column.text("t"), sql.SQL(column.type), column.identifier)
        for column in columns
    )
    return sql.SQL("(SELECT to_jsonb(r.*)::text FROM (SELECT {}) r)").format(fields)


def _state(
    key: Key, version: str, key_json: str, texts: list[str | None] | None, row: str
) -> State:
    if texts is None:
        return State(key, key, key_json, None, version)
    return State(key, tuple(texts), key_json, row, version)


def _refusal(table: Table, template: Template, error: Exception) -> str:
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    reason = said or "the value cannot be read"
    return f"no such topic of {table.name} ({template.text}): {reason}"
