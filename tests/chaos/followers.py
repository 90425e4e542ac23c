"""Subscribers over WebSocket and SSE that come back, hop between instances, and tell a witness.

Two thirds hop: they leave and come back wherever the balancer sends them. The others
stay, since a hop brings a snapshot, and with it heals what an instance has missed.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from bridge.backoff import Backoff
from bridge.client import Client, Lost
from tests.chaos.witness import Broken, Witness
from tests.support.events import streaming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tests.chaos.history import Shared
    from tests.chaos.schema import Row, Schema, Topic

    Truth = tuple[dict[str, dict[str, Row]], dict[str, dict[int, Row]]]
    """What topics must hold, by topic and key; what log topics must have told, by topic and id."""

_GONE = (OSError, EOFError, TimeoutError, IndexError)


def _patience() -> Backoff:
    return Backoff(first=0.05, cap=0.5)


class Follower:
    """One subscriber of the bridges behind `address`; `on_news` is called with each message."""

    def __init__(
        self, address: str, witness: Witness, *, hops: bool, on_news: Callable[[], None]
    ) -> None:
        self.address = address
        self.witness = witness
        self.hops = hops
        self._on_news = on_news
        self._session: asyncio.Task[None] | None = None
        self._leaving = False
        self._heard = time.monotonic()

    async def run(self) -> None:
        """For ever. Raises Broken."""
        while True:
            self._session = session = asyncio.create_task(self._follow())
            self._leaving = False
            try:
                await asyncio.wait({session})
            finally:
                session.cancel()
                await asyncio.wait({session})
            if not session.cancelled():
                session.result()

    def hop(self) -> None:
        """Once each time: to cancel one who is leaving would leave its connection open."""
        if self._session is not None and not self._leaving:
            self._leaving = True
            self._session.cancel()

    async def _follow(self) -> None:
        raise NotImplementedError

    def _take(self, text: str) -> None:
        self._heard = time.monotonic()
        self.witness.take(text)
        self._on_news()
        if self.witness.astray:
            self.hop()

    def different(self, truth: Truth) -> Broken | None:
        """What it does not hold as expected, and when it last heard of anything."""
        broken = self.witness.difference(*truth)
        if broken is not None:
            broken.history.append(self._state())
        return broken

    def late(self) -> str:
        return f"{self.witness.name} lacks {', '.join(self.witness.missing)}: {self._state()}"

    def _state(self) -> str:
        silent = time.monotonic() - self._heard
        heard = f"its last message came {silent:.1f} s ago, from {self.witness.instance}"
        return f"{heard}; it waits in {' > '.join(_waits(self._session))}"


class Socket(Follower):
    """Over WebSocket, with the client for Python."""

    async def _follow(self) -> None:
        since = self.witness.since()
        async with Client(self.address, backoff=_patience) as client:
            async for line in client.lines(*since, since=since):
                if not isinstance(line, Lost):
                    self._take(line)


class Stream(Follower):
    """Over SSE, with the parser of the tests; comes back with the last id, as browsers do."""

    _last_id = ""

    async def _follow(self) -> None:
        patience = _patience()
        while True:
            with suppress(*_GONE):
                headers = {"Last-Event-ID": self.witness.position(self._last_id)}
                async with streaming(self.address, *self.witness.topics, headers=headers) as stream:
                    while stream.status == 200:
                        event = await stream.next()
                        patience.reset()
                        self._take(event.data)
                        if event.id != self._last_id:
                            self._last_id = event.id
                            self.witness.mark()
            await asyncio.sleep(patience.delay())


def _waits(task: asyncio.Task[None] | None) -> Iterator[str]:
    """The functions that a task is in, from the outermost to the one that waits."""
    inner: Any = task.get_coro() if task else None
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_name}:{frame.f_lineno}"
        awaited = getattr(inner, "cr_await", None) or getattr(inner, "ag_await", None)
        # A step of an asynchronous generator does not tell which one it is of.
        generators = (made for made in gc.get_referents(awaited) if hasattr(made, "ag_frame"))
        inner = next(generators, awaited)


class Crowd:
    """All followers. `news` is set with every message that one of them gets. Until they are told
    to `move`, none hops."""

    def __init__(
        self,
        address: str,
        schema: Schema,
        random: Random,
        shared: Shared,
        *,
        sockets: int,
        streams: int,
        readers: int,
    ) -> None:
        self.news = asyncio.Event()
        self._random = random
        self._hopping = asyncio.Event()
        self.hops = 0
        self.followers: list[Follower] = []
        numbers = count()
        chosen = random.sample(range(sockets + streams), readers)
        for kind, size in ((Socket, sockets), (Stream, streams)):
            for n in range(size):
                number, whole = next(numbers), n % 4 == 0
                topics = schema.topics(random, whole=whole)
                logs = [schema.log(random, whole=whole)] if number in chosen else []
                witness = Witness(f"{kind.__name__.lower()} {number}", topics, logs, shared)
                follower = kind(address, witness, hops=n % 3 > 0, on_news=self.news.set)
                self.followers.append(follower)

    @property
    def messages(self) -> int:
        return sum(follower.witness.messages for follower in self.followers)

    @property
    def resumed(self) -> int:
        """How often one of them went on from a cursor."""
        return sum(follower.witness.resumed for follower in self.followers)

    @property
    def events(self) -> int:
        return sum(follower.witness.events for follower in self.followers)

    @property
    def beacon(self) -> int:
        """What all have seen of the beacon."""
        return min(follower.witness.beacon for follower in self.followers)

    def topics(self) -> dict[str, Topic]:
        return {
            name: told.topic
            for follower in self.followers
            for name, told in follower.witness.told.items()
        }

    def logs(self) -> dict[str, Topic]:
        return {
            name: log.topic
            for follower in self.followers
            for name, log in follower.witness.logs.items()
        }

    async def run(self) -> None:
        """Raises Broken, in a group."""
        async with asyncio.TaskGroup() as tasks:
            for follower in self.followers:
                tasks.create_task(follower.run())
            tasks.create_task(self._hop())

    async def _hop(self) -> None:
        """Each hopper leaves every two and a half seconds or so."""
        hoppers = [follower for follower in self.followers if follower.hops]
        while hoppers:
            await self._hopping.wait()
            self._random.choice(hoppers).hop()
            self.hops += 1
            await asyncio.sleep(self._random.uniform(0, 5 / len(hoppers)))

    def stay(self) -> None:
        self._hopping.clear()

    def move(self) -> None:
        self._hopping.set()

    async def complete(self, patience: float) -> None:
        """Until everybody has a snapshot of everything. Raises Broken after so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._until(lambda: not any(f.witness.missing for f in self.followers))
        except TimeoutError:
            late = [follower.late() for follower in self.followers if follower.witness.missing]
            raise Broken(f"no first snapshot within {patience:g} s", history=late) from None

    async def equal(self, expected: Truth, patience: float) -> None:
        """Until everybody holds what is expected. Raises Broken after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._until(lambda: self._different(expected) is None)
                return
        raise self._different(expected) or Broken(f"equal, but not within {patience:g} s")

    def _different(self, expected: Truth) -> Broken | None:
        differences = (follower.different(expected) for follower in self.followers)
        return next((found for found in differences if found is not None), None)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self.news.clear()
            await self.news.wait()
