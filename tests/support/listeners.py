"""Subscribers of a log topic that note what they get, and what came of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Listener:
    """`ids` are those of the events so far, in order; `cursor` is behind the last."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.cursor: Any = None
        self.replies: list[dict[str, Any]] = []
        self.others: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def take(self, message: dict[str, Any]) -> None:
        self.cursor = message.get("cursor") or self.cursor
        if message["type"] == "event":
            self.ids.append(message["key"]["id"])
        else:
            kept = self.replies if message["type"] == "subscribed" else self.others
            kept.append(message)
        self._news.set()

    async def heard(self) -> None:
        """The next message, whatever it is."""
        self._news.clear()
        await self._news.wait()

    async def until(self, count: int, patience: float = PATIENCE) -> None:
        """Until so many events are here."""
        async with asyncio.timeout(patience):
            while len(self.ids) < count:
                self._news.clear()
                await self._news.wait()

    async def begun(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not self.replies:
                self._news.clear()
                await self._news.wait()
        return self.replies[0]


@asynccontextmanager
async def listening(url: str, topic: str, since: Any = None) -> AsyncIterator[Listener]:
    """One connection, until the end of the block."""
    listener = Listener()
    # Without a limit to its queue: a connection that is full would not take its own close.
    async with connect(url, max_size=None, max_queue=None, compression=None) as connection:
        where = {} if since is None else {"since": since}
        await connection.send(json.dumps({"type": "subscribe", "topic": topic} | where))

        async def read() -> None:
            async for frame in connection:
                listener.take(json.loads(frame))

        reading = asyncio.create_task(read())
        try:
            yield listener
        finally:
            reading.cancel()
            await asyncio.wait({reading})
