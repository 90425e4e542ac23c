"""A subscriber that comes and goes, and keeps one cursor, as docs/protocol.md has it.

What it is told is not folded but noted, because the question is what it is told.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Message = dict[str, Any]


class Visit:
    """One connection that follows one topic; `cursor` is where the next one can resume."""

    def __init__(self, connection: ClientConnection, topic: str, cursor: Any) -> None:
        self._connection = connection
        self.topic = topic
        self.cursor = cursor

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            message: Message = json.loads(await self._connection.recv())
        if message["type"] == "snapshot" and not message["last"]:
            self.cursor = None
        elif message.get("cursor"):
            self.cursor = message["cursor"]
        elif message.get("resumed") is False:
            self.cursor = None
        return message

    async def begin(self) -> tuple[Message, list[Message]]:
        """The reply to the subscription, and what came with it."""
        where = {} if self.cursor is None else {"since": self.cursor}
        await self.send(type="subscribe", topic=self.topic, **where)
        reply = await self.next()
        return reply, await self.so_far()

    async def so_far(self) -> list[Message]:
        """What was on its way: a `pong` comes behind it."""
        await self.send(type="ping")
        found = []
        while (message := await self.next())["type"] != "pong":
            found.append(message)
        return found

    async def send(self, **command: Any) -> None:
        await self._connection.send(json.dumps(command))


@asynccontextmanager
async def visiting(url: str, topic: str, cursor: Any = None) -> AsyncIterator[Visit]:
    """Connected and greeted, not subscribed yet."""
    # Without a limit to its queue: a connection that is full would not take its own close.
    async with connect(url, max_size=None, max_queue=None, compression=None) as connection:
        visit = Visit(connection, topic, cursor)
        assert (await visit.next())["type"] == "welcome"
        yield visit


async def cursor_of(url: str, topic: str) -> str:
    """The cursor of who has the whole topic now."""
    async with visiting(url, topic) as visit:
        await visit.begin()
        assert isinstance(visit.cursor, str)
        return visit.cursor
