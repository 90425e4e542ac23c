"""Reading what durable tables' triggers kept, between two moments.

What changed between two snapshots is what was written by transactions that the second sees
and the first did not. Nothing is lost and nothing comes twice, however long a transaction
takes, and nobody has to wait for one: a transaction number alone would not do, and a
sequence even less (docs/how-it-works.md).

Changes that were pruned are seen by no snapshot, not even by an older one: TRUNCATE is not
transactional for who reads. So what was pruned is asked *after* a read, where anything may have
been since the read before.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from bridge import storage
from bridge.changes import Gap, Malformed, Said, heard
from bridge.cursor import Moment
from bridge.errors import DatabaseError
from bridge.parameters import array
from bridge.statements import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.changes import Change
    from bridge.parameters import Ahead

LIMIT = 20_000
"""Kept payloads read at a time; where there are more, everything is read anew instead."""

_IDENTITY = """
md5(concat_ws(' ', a.identity, (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database())))
"""

# To ask for the identity is to read a file of the server, so reads ask for less.
_SIGN = "concat(a.identity, ' ', pg_postmaster_start_time())"

_ABOUT = """
SELECT {identity}, a.pruned::text, pg_current_snapshot()::text,
       current_setting('max_prepared_transactions') = '0', {sign}
FROM {about} a
"""

_BEGIN = "INSERT INTO {about} DEFAULT VALUES ON CONFLICT DO NOTHING"

# What is asked for is hidden from the planner, so that it plans once and not for each read; the
# upper bound makes it expect few, and so use the index, however large the table was just then.
# All that was kept comes as one text, which is JSON but for what is malformed: to make a row of
# each, here and there, costs more than to read it.
_READ = """
SELECT (SELECT pg_current_snapshot()::text), (SELECT {sign} FROM {about} a), {turns},
       k.number, k.payloads
FROM (SELECT count(*) AS number,
             string_agg(concat('[', c.xid, ',', extract(epoch FROM clock_timestamp() - c.at), ',',
                               replace(c.payload, {line}, {never}), ']'), {between}) AS payloads
      FROM (SELECT xid, payload, at FROM {store}
            WHERE (xid >= (SELECT $1::xid8) AND xid <= '18446744073709551615'::xid8
                   OR xid = ANY((SELECT $2::xid8[])::xid8[]))
              AND payload ^@ ANY((SELECT $3::text[])::text[])
            ORDER BY seq LIMIT {limit}) c) k
"""

_BOTH = "SELECT r.*, ({ahead}) FROM ({read}) r"

_BETWEEN = ",\n"
"""What is between two payloads, and in none: a line's end, which no trigger writes, is read as what
JSON cannot have."""

_BEGINS = re.compile(r"\[(\d+),(-?[\d.]+),")
_NOTHING = Said()


class About(NamedTuple):
    """A history: what tells it from others, the last transaction pruned of it, and now.

    `rings`: whether its writers notify; where transactions can be prepared they do not. As long as
    its `sign` is the same, so is the identity.
    """

    identity: str
    pruned: int
    now: Moment
    rings: bool
    sign: str

    def covers(self, since: Moment) -> bool:
        """Whether everything is still there that this moment does not see."""
        return self.pruned < since.xmin


class Payload(msgspec.Struct, array_like=True, gc=False):
    """As a trigger wrote it, `age` seconds ago, in the transaction of this number; it said nothing
    where it cannot be read."""

    xid: int
    age: float
    said: Said | None


class Kept(NamedTuple):
    """What was read: up to which moment, and what was kept until then, in the history of this sign.

    `turns` counts how often anything may have been pruned of it. A read holds a lock on every
    slot while it asks for that, so two reads with one count have nothing pruned between them.
    """

    moment: Moment
    payloads: Sequence[Payload]
    sign: str | None
    turns: int
    rows: str | None = None
    """Those that were to be read with it, for `loader.read_ahead`."""


class Changelog:
    """Reads for one bridge. Methods raise `psycopg.Error` or `DatabaseError`."""

    def __init__(self, pool: Any, schema: str, settings: sql.Composed | None = None) -> None:
        """`settings`, if given, are what every transaction has to begin with."""
        self._pool = pool
        self._settings = settings
        about = storage.about(schema, "changes")
        sign = sql.SQL(_SIGN)
        self._about = written(
            sql.SQL(_ABOUT).format(about=about, identity=sql.SQL(_IDENTITY), sign=sign)
        )
        self._begin = sql.SQL(_BEGIN).format(about=about)
        parts = {
            "about": about,
            "sign": sign,
            "store": storage.relation(schema, "changes"),
            "turns": storage.turns(schema, "changes"),
            "limit": sql.Literal(LIMIT + 1),
            "between": sql.Literal(_BETWEEN),
            "line": sql.Literal("\n"),
            "never": sql.Literal("\x01"),
        }
        self._read = written(sql.SQL(_READ).format(**parts))
        self._both: dict[str, sql.Composed] = {}

    async def begin(self) -> None:
        """Give the history an identity, if a crash has taken it."""
        async with self._pool.connection() as connection:
            await connection.execute(self._begin)

    async def about(self) -> About:
        rows = await self._fetch(self._about, [])
        if not rows:
            raise DatabaseError("the history of changes has no identity yet")
        identity, pruned, now, rings, sign = rows[0]
        return About(identity, int(pruned or 0), Moment.read(now), rings, sign)

    async def read(
        self, since: Moment, tables: Iterable[str], ahead: Ahead | None = None
    ) -> Kept | None:
        """What was kept of these tables since then; None if it is too much.

        It may have been pruned in part: ask `about` next, unless nothing was since the last read.
        """
        heads = array(f'{{"t":{json.dumps(name)},' for name in tables)
        values = [str(since.xmax), array(map(str, since.xip)), heads]
        statement = self._read
        if ahead is not None:
            statement, values = self._with(ahead), values + ahead.columns
        ((moment, sign, turns, number, text, *rows),) = await self._fetch(statement, values)
        if number > LIMIT:
            return None
        return Kept(Moment.read(moment), payloads(text or "", number), sign, turns, *rows)

    def _with(self, ahead: Ahead) -> sql.Composed:
        if ahead.table not in self._both:
            both = sql.SQL(_BOTH).format(ahead=ahead.statement, read=self._read)
            self._both[ahead.table] = written(both)
        return self._both[ahead.table]

    async def _fetch(self, statement: sql.Composed, values: list[Any]) -> list[Any]:
        async with self._pool.connection() as connection:
            if self._settings is None:
                return await _fetch(connection, statement, values)
            async with connection.transaction():
                await connection.execute(self._settings)
                return await _fetch(connection, statement, values)


_all = msgspec.json.Decoder(list[Payload]).decode
_one = msgspec.json.Decoder(Payload).decode


def payloads(text: str, number: int) -> list[Payload]:
    """So many payloads as a read brings them; a malformed one leaves the others as they are."""
    with suppress(ValueError, RecursionError):
        if len(found := _all(f"[{text}]")) == number:
            return found
    return [_payload(each) for each in text.split(_BETWEEN)]


def _payload(text: str) -> Payload:
    try:
        return _one(text)
    except (ValueError, RecursionError):
        begins = _BEGINS.match(text)
        assert begins is not None
        return Payload(int(begins[1]), float(begins[2]), None)


def changes(
    payloads: Iterable[Payload], widths: dict[str, tuple[int, int]]
) -> tuple[list[Change], list[Gap]]:
    """Payloads as triggers wrote them → changes in their order, and what they leave open."""
    found: list[Change] = []
    gaps: dict[Gap, None] = {}
    for payload in payloads:
        try:
            parsed = heard(payload.said or _NOTHING, widths, payload.age)
        except Malformed:  # of triggers that were replaced since
            parsed = Gap(None, "kept by another config")
        if isinstance(parsed, list):
            found += parsed
        elif isinstance(parsed, Gap):
            gaps[parsed] = None
    return found, list(gaps)


async def _fetch(
    connection: psycopg.AsyncConnection[Any], statement: sql.Composed, values: list[Any]
) -> list[Any]:
    return await (await psycopg.AsyncRawCursor(connection).execute(statement, values)).fetchall()
