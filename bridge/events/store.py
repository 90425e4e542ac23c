"""Publishing and reading, inside the transaction of whoever calls.

A channel's events are numbered from 1 on, without gaps, in the order of their commits. All
events together are in the order of their positions, which is not that of their commits: a
transaction may commit a smaller one after a larger one was read. So a channel can be
followed by its versions, and all of them only through the bridge's topic `events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.events import sql
from bridge.events.event import Event, NewEvent, Recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session, scoped_session

    from bridge.events.types import EventTypes

    Caller: TypeAlias = Session | scoped_session[Any] | Connection
    AsyncCaller: TypeAlias = AsyncSession | AsyncConnection

PAGE = 500
"""Events that `replay` holds in memory, at most."""


class Events:
    """The events of the bridge whose own schema is `schema`; `types` are those that may be
    published, any if there are none."""

    def __init__(self, types: EventTypes | None = None, *, schema: str = "rowcast") -> None:
        self.types = types
        self.schema = schema
        self.table = sql.table(schema)

    def publish(
        self,
        session: Caller,
        channel: str,
        data: Any,
        *,
        event_type: str = "event",
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> Recorded:
        """Adds one event to a channel. Raises what `append` does."""
        events = [NewEvent(data, event_type, metadata or {})]
        return self.append(session, channel, events, expected_version=expected_version)[0]

    def append(
        self,
        session: Caller,
        channel: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
    ) -> list[Recorded]:
        """Adds events to a channel, all or none; `expected_version` 0 means to a new one.

        Raises `VersionConflict`, `UnknownEventType`, `InvalidEvent`. After the database has
        refused them the transaction can only be rolled back, as after any error.
        """
        sql.checked(self.types, events)
        with sql.explained(channel):
            statement = sql.appending(self.schema, channel, events, expected_version)
            return [Recorded(*row) for row in session.execute(statement)]

    def latest(self, session: Caller, channel: str | None = None) -> Event | None:
        """The newest event of a channel, or of all; None if there is none."""
        row = session.execute(sql.last(self.table, channel)).one_or_none()
        return None if row is None else Event(*row)

    def replay(
        self, session: Caller, channel: str | None = None, *, after: int = 0, page: int = PAGE
    ) -> Iterator[Event]:
        """The events of a channel after that version, or all after that position, in order."""
        while True:
            rows = session.execute(sql.page(self.table, channel, after, page))
            events = [Event(*row) for row in rows]
            yield from events
            if len(events) < page:
                return
            after = sql.place(events[-1], channel)


class AsyncEvents:
    """The same for asyncio."""

    def __init__(self, types: EventTypes | None = None, *, schema: str = "rowcast") -> None:
        self.types = types
        self.schema = schema
        self.table = sql.table(schema)

    async def publish(
        self,
        session: AsyncCaller,
        channel: str,
        data: Any,
        *,
        event_type: str = "event",
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> Recorded:
        """As `Events.publish`."""
        events = [NewEvent(data, event_type, metadata or {})]
        written = await self.append(session, channel, events, expected_version=expected_version)
        return written[0]

    async def append(
        self,
        session: AsyncCaller,
        channel: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
    ) -> list[Recorded]:
        """As `Events.append`."""
        sql.checked(self.types, events)
        with sql.explained(channel):
            statement = sql.appending(self.schema, channel, events, expected_version)
            return [Recorded(*row) for row in await session.execute(statement)]

    async def latest(self, session: AsyncCaller, channel: str | None = None) -> Event | None:
        """As `Events.latest`."""
        row = (await session.execute(sql.last(self.table, channel))).one_or_none()
        return None if row is None else Event(*row)

    async def replay(
        self, session: AsyncCaller, channel: str | None = None, *, after: int = 0, page: int = PAGE
    ) -> AsyncIterator[Event]:
        """As `Events.replay`."""
        while True:
            rows = await session.execute(sql.page(self.table, channel, after, page))
            events = [Event(*row) for row in rows]
            for event in events:
                yield event
            if len(events) < page:
                return
            after = sql.place(events[-1], channel)
