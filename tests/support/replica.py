"""A subscriber that folds what it is told, by the client rules of docs/protocol.md alone.

It is the one that is asked whether the bridge kept its promises: in the end it must
hold what the table holds, and it notes every message that would have taken it back in
time, or that names a version twice with different rows.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from bridge import client
from bridge.backoff import Backoff
from tests.support import PATIENCE
from tests.support.events import streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    import psycopg

Rows = dict[str, Any]


class Held:
    """What a client holds of one topic."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.versions: dict[str, str] = {}
        self.floor: str | None = None

    def fold(self, message: dict[str, Any]) -> None:
        if message["type"] == "snapshot":
            self._page(message)
        else:
            self._change(message)

    def _page(self, page: dict[str, Any]) -> None:
        if page["first"]:
            self.rows, self.versions, self.floor = {}, {}, page["version"]
        for entry in page["rows"]:
            self.rows[_key(entry)] = entry["row"]

    def _change(self, change: dict[str, Any]) -> None:
        key = _key(change)
        held = max(self.versions.get(key, ""), self.floor or "")
        if self.floor is None or change["version"] < held:
            return
        self.versions[key] = change["version"]
        if change["op"] == "delete":
            self.rows.pop(key, None)
        else:
            self.rows[key] = change["row"]


class Replica:
    """Follows `topics` at `url` until it is closed; reconnects as a real client does."""

    def __init__(self, url: str, topics: Iterable[str]) -> None:
        self.url = url
        self.topics = list(topics)
        self.held = {topic: Held() for topic in self.topics}
        self.messages: list[dict[str, Any]] = []
        self.recovered = 0
        self.regressions: list[str] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow())
        self._highest: dict[tuple[str, str], str] = {}

    async def _follow(self) -> None:
        patience = Backoff(first=0.02, cap=0.2)
        async for message in client.messages(self.url, self.topics, backoff=patience):
            self._take(message)
            self._news.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    def _take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["type"] == "welcome":
            self._highest = {}
        if message["type"] == "status" and message["state"] == "live":
            self.recovered += 1
        if message["type"] in ("snapshot", "change"):
            self._watch_time(message)
            self.held[message["topic"]].fold(message)

    def _watch_time(self, message: dict[str, Any]) -> None:
        """Within one connection no key's version may fall: the server sends in order."""
        place = message["topic"], _key(message) if message["type"] == "change" else ""
        for known in (place, (message["topic"], "")):
            if message["version"] < self._highest.get(known, ""):
                self.regressions.append(json.dumps(message))
        self._highest[place] = message["version"]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for messages until the condition holds; the test's own timeout ends a vain wait."""
        while not true():
            self._news.clear()
            news = asyncio.ensure_future(self._news.wait())
            await asyncio.wait({news, self._task}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if self._task.done():
                await self._task

    async def equals(self, expected: dict[str, Rows], patience: float = PATIENCE) -> None:
        """Until every topic holds the expected rows; fails telling the first that does not."""
        try:
            async with asyncio.timeout(patience):
                await self.until(lambda: all(self.held[t].rows == expected[t] for t in self.topics))
        except TimeoutError:
            raise AssertionError(self._difference(expected)) from None

    def _difference(self, expected: dict[str, Rows]) -> str:
        for topic in self.topics:
            held, right = self.held[topic].rows, expected[topic]
            for key in sorted(held.keys() | right.keys()):
                if held.get(key) != right.get(key):
                    history = [m for m in self.messages if m.get("topic") == topic][-5:]
                    return (
                        f"{topic} {key}: holds {held.get(key)}, the table has {right.get(key)};"
                        f" last messages {history}"
                    )
        return "equal now, but too late"


class Streamed(Replica):
    """The same over Server-Sent Events, `url` being `http://host:port`."""

    async def _follow(self) -> None:
        patience = Backoff(first=0.02, cap=0.2)
        while True:
            with suppress(OSError, EOFError):
                async with streaming(self.url, *self.topics) as stream:
                    while stream.status == 200:
                        self._take((await stream.next()).json())
                        self._news.set()
                        patience.reset()
            await asyncio.sleep(patience.delay())


def _key(message: dict[str, Any]) -> str:
    return json.dumps(message["key"], sort_keys=True)


@asynccontextmanager
async def following(
    url: str, *topics: str, kind: type[Replica] = Replica
) -> AsyncIterator[Replica]:
    """A replica that has its first snapshots."""
    replica = kind(url, topics)
    try:
        async with asyncio.timeout(PATIENCE):
            await replica.until(lambda: all(held.floor for held in replica.held.values()))
        yield replica
    finally:
        await replica.close()


def rows(connection: psycopg.Connection, query: str, *values: object, key: str = "id") -> Rows:
    """What a topic should hold: the rows of a SELECT, by key."""
    found = connection.execute(f"SELECT to_jsonb(r)::text FROM ({query}) r", values).fetchall()
    parsed = [json.loads(text) for (text,) in found]
    return {json.dumps({key: row[key]}, sort_keys=True): row for row in parsed}
