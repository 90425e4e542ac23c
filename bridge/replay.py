"""Reads for the streams that are behind: where each begins, then page after page.

A replay from the start has two parts. First the rows of the table that are older than the
log, by position; then the log itself, from a number on that was settled when the replay
began. What the log has at or beyond that number is left out of the first part, so each
row comes once: every row that is committed later has a larger number.

The number lies behind the oldest slot in use, so that the next one to be emptied does not
take rows from under a replay that takes its time.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg_pool import PoolTimeout

from bridge import cursor, log_statements, wire
from bridge.cursor import Place
from bridge.drain import Entry
from bridge.errors import DatabaseError, ProtocolError
from bridge.logbook import Span
from bridge.stream import message, topic_of
from bridge.wire import ErrorCode, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.changes import Event
    from bridge.logbook import About, Logbook
    from bridge.message import Message
    from bridge.metrics import Metrics
    from bridge.stream import Stream
    from bridge.streams import Streams
    from bridge.tables import Table

log = logging.getLogger(__name__)

UNREADABLE = (psycopg.Error, PoolTimeout, DatabaseError, OSError)
"""What a read may raise for reasons that pass: it is tried again."""

RETRY = 0.5
"""Seconds until a read that failed is tried again."""

TOO_SLOW = 3
"""Times that a stream's read may take longer than PostgreSQL lets it."""


class Replay:
    """For one bridge; `run` as often as there may be reads at a time."""

    def __init__(self, streams: Streams, book: Logbook, metrics: Metrics) -> None:
        self._streams = streams
        self._book = book
        self._metrics = metrics
        self._asked = asyncio.Event()
        streams.on_due = self._asked.set

    async def run(self) -> None:
        while True:
            while (stream := self._streams.next()) is None:
                self._asked.clear()
                await self._asked.wait()
            await self._serve(stream)

    async def _serve(self, stream: Stream) -> None:
        turn = stream.turn
        try:
            await (self._page(stream) if stream.opened else self._open(stream))
        except ProtocolError as error:
            self._streams.refuse(stream, turn, error)
        except UNREADABLE as error:
            self._failed(stream, turn, error)

    def _failed(self, stream: Stream, turn: int, error: Exception) -> None:
        self._metrics.load_errors.inc()
        stream.failures += 1
        if stream.failures == 1:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("read failed", extra={"what": stream.topic, "reason": why})
        if isinstance(error, psycopg.errors.QueryCanceled) and stream.failures >= TOO_SLOW:
            said = f"reading this takes too long; {stream.route.table.name} needs an index for it"
            self._streams.refuse(stream, turn, ProtocolError(ErrorCode.UNAVAILABLE, said))
            return
        asyncio.get_running_loop().call_later(RETRY, self._streams.again, stream, turn)

    # Where it begins.

    async def _open(self, stream: Stream) -> None:
        turn, route = stream.turn, stream.route
        await self._book.check(route.table, route.template, stream.values)
        place = None if stream.since is None else await self._beginning(stream, stream.since)
        now = Place(self._settled())
        self._streams.opened(stream, turn, place or now, resumed=place is not None)

    def _settled(self) -> int:
        if self._streams.settled is None:
            raise DatabaseError("nobody reads the log")
        return self._streams.settled

    async def _beginning(self, stream: Stream, since: str | Position) -> Place | None:
        """Where `since` says; None if that cannot be told, or has been pruned."""
        about = await self._book.about()
        self._same(about)
        if since == wire.START:
            return Place(await self._first(), ())
        if isinstance(since, Position):
            skip = await self._position(stream.route.table, since)
            return Place(await self._first(), (), skip, self._settled())
        place = cursor.place(since, about.identity, stream.topic)
        if place is None or not about.pruned <= place.seq <= about.issued:
            return None
        return place if await self._typed(stream.route.table, place) else None

    async def _first(self) -> int:
        first = await self._book.first()
        return min(first, self._settled())

    async def _position(self, table: Table, since: Position) -> str:
        assert table.position is not None
        right = await self._book.spelled([table.position], [since.after])
        if right is None:
            said = (
                f'"since" is no {table.position.type} as {table.position.name} of {table.name} is'
            )
            raise ProtocolError(ErrorCode.BAD_MESSAGE, said)
        return right[0]

    async def _typed(self, table: Table, place: Place) -> bool:
        """Whether its texts are values of the table's columns; anybody can write a cursor."""
        columns = log_statements.ordering(table)
        if place.after and len(place.after) != len(columns):
            return False
        columns = [*(columns if place.after else ()), *(columns[:1] if place.skip else ())]
        texts = [*(place.after or ()), *([place.skip] if place.skip is not None else ())]
        return len(columns) == len(texts) and (
            not columns or await self._book.spelled(columns, texts) is not None
        )

    def _same(self, about: About) -> None:
        """Where another log begins is for its reader to say, and to all who follow."""
        if about.identity != self._streams.identity:
            self._streams.on_doubt()
            raise DatabaseError("the log is another one now")

    # Page after page.

    async def _page(self, stream: Stream) -> None:
        turn, target = stream.turn, self._streams.accompany(stream)
        before = stream.place
        read = self._log(stream, target) if before.after is None else self._history(stream)
        events, place, about = await read
        self._same(about)
        if about.pruned > before.seq:
            log.warning("a replay was overtaken by retention", extra={"topic": stream.topic})
            self._streams.lost(stream, turn)
            return
        stream.pace.measure([event for event, _ in events])
        mine = [self._message(stream, *each) for each in events if _concerns(stream, each[0])]
        self._streams.bring(stream, turn, mine, place, target)

    def _message(self, stream: Stream, event: Event, place: Place) -> Message:
        return message(self._streams.identity, stream.topic, event, place)

    async def _log(
        self, stream: Stream, target: int
    ) -> tuple[list[tuple[Event, Place]], Place, About]:
        """Events that follow in the log, each with its place, and how far that goes."""
        table, before = stream.route.table, stream.place
        upto, limit = min(target, before.seq + stream.pace.window), stream.pace.rows
        entries, about = await self._entries(stream, Span(upto, limit))
        reached = max(before.seq, entries[-1].seq if len(entries) == limit else upto)
        stream.pace.look(reached - before.seq, full=len(entries) == limit)
        events = await self._book.events(table, entries, stream.viewer) if entries else []
        if before.skip is not None:
            events = await self._beyond(table, events, before, before.skip)
        return [(e, before.at(e.seq)) for e in events], before.at(reached), about

    async def _entries(self, stream: Stream, span: Span) -> tuple[list[Entry], About]:
        """Those of the topic, and perhaps more."""
        table, place = stream.route.table, stream.place
        # Its rows are not ours to look at where policies decide: what is not of it goes later.
        if stream.viewer is None and (stream.values or place.skip is not None):
            # A key of another type than it had is looked at row by row.
            with suppress(psycopg.DataError):
                return await self._book.matching(
                    table, stream.route.template, stream.values, place, span
                )
        return await self._book.entries(place.seq, span.limit, upto=span.upto, source=table.name)

    async def _beyond(
        self, table: Table, events: Sequence[Event], place: Place, skip: str
    ) -> list[Event]:
        """Without those that the subscriber said it has."""
        assert table.position is not None
        old = [e for e in events if e.state is not None and e.seq <= place.until]
        positions = [str(event.state.values[-1]) for event in old if event.state]
        beyond = await self._book.beyond(table.position, positions, skip) if old else set()
        left_out = {event.seq for n, event in enumerate(old) if n not in beyond}
        return [event for event in events if event.seq not in left_out]

    async def _history(self, stream: Stream) -> tuple[list[tuple[Event, Place]], Place, About]:
        """Rows older than the log, by position."""
        table, before, limit = stream.route.table, stream.place, stream.pace.rows
        seen, old, about = await self._book.history(
            stream.route, stream.values, before, limit, stream.viewer
        )
        entries = [Entry(n, table.name, _entry(table, texts)) for n, texts in enumerate(old)]
        events = await self._book.events(table, entries, stream.viewer) if entries else []
        place = before._replace(after=seen[-1]) if len(seen) == limit else before.at(before.seq)
        return [(e, before._replace(after=old[e.seq])) for e in events], place, about


def _entry(table: Table, texts: Sequence[str]) -> str:
    """The key, as the log would have it, of a row whose ordering columns have these texts."""
    columns = log_statements.ordering(table)
    known = {column.name: text for column, text in zip(columns, texts, strict=True)}
    return json.dumps([known[column.name] for column in table.key])


def _concerns(stream: Stream, event: Event) -> bool:
    return event.state is None or topic_of(stream.route, event) == stream.topic
