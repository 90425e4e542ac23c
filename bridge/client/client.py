"""What a program uses: one address, and whatever it wants to follow there.

Each `follow` and each `state` has a connection of its own, so that one that is read slowly
holds up no other; the server then sends it fewer and newer states.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from bridge.client.connection import patience, received
from bridge.client.replica import Replica
from bridge.client.wire import Following, Lost, decode, typed
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bridge.backoff import Backoff
    from bridge.client.connection import Token
    from bridge.client.wire import Message, Since


class Client:
    """A subscriber of the bridge at `url`, `http://host:port` or the WebSocket's own address.

    `token` goes along as `Authorization: Bearer`: text, or a function that gives it, which may be
    a coroutine's and is called for each connection; so one that expires is followed by a fresh
    one. `backoff` makes the delays of one connection.
    """

    def __init__(
        self, url: str, token: Token = None, *, backoff: Callable[[], Backoff] = patience
    ) -> None:
        self.url = url
        self._token = token
        self._backoff = backoff
        self._open: WeakSet[AsyncGenerator[object, None]] = WeakSet()
        self._replicas: dict[asyncio.Task[None], Replica] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection; those who wait for a replica are told so."""
        replicas = dict(self._replicas)
        for task in replicas:
            task.cancel()
        if replicas:
            await asyncio.wait(replicas)
        for replica in replicas.values():
            replica.end(BridgeError(f"{self.url}: the client is closed"))
        for generator in list(self._open):
            # One that another task waits for ends with that task.
            with suppress(RuntimeError):
                await generator.aclose()

    def follow(self, *topics: str, since: Since = None) -> AsyncGenerator[Message, None]:
        """Every message about these topics, for ever, and `Lost` whenever the line drops.

        After it, topics that have a cursor are resumed, and the others begin anew with a
        snapshot. Raises BridgeError if coming back is of no use.
        """
        generator = self._follow(topics, since)
        self._open.add(generator)
        return generator

    def lines(self, *topics: str, since: Since = None) -> AsyncGenerator[str | Lost, None]:
        """The same, each message as the JSON text that was sent."""
        generator = self._lines(topics, since)
        self._open.add(generator)
        return generator

    async def state(self, topic: str) -> Replica:
        """The topic's rows, once they are there; from then on kept up to date."""
        replica = Replica(topic)
        task = asyncio.create_task(self._keep(replica))
        self._replicas[task] = replica
        task.add_done_callback(self._replicas.pop)
        try:
            await replica.until(lambda replica: replica.complete)
        except BaseException:
            task.cancel()
            raise
        return replica

    async def _keep(self, replica: Replica) -> None:
        try:
            async with aclosing(self._follow((replica.topic,), None)) as messages:
                async for message in messages:
                    replica.take(message)
                    if replica.ended:
                        return
        except Exception as error:  # whoever uses the replica has to hear of it
            replica.end(error)

    async def _follow(self, topics: tuple[str, ...], since: Since) -> AsyncGenerator[Message, None]:
        async with aclosing(self._received(topics, since)) as items:
            async for item in items:
                message = item if isinstance(item, Lost) else typed(item[1])
                if message is not None:
                    yield message

    async def _lines(
        self, topics: tuple[str, ...], since: Since
    ) -> AsyncGenerator[str | Lost, None]:
        async with aclosing(self._received(topics, since)) as items:
            async for item in items:
                yield item if isinstance(item, Lost) else item[0]

    async def _received(
        self, topics: tuple[str, ...], since: Since
    ) -> AsyncGenerator[tuple[str, dict[str, Any]] | Lost, None]:
        """Each message as its text and as its fields."""
        following = Following(topics, since)
        patience = self._backoff()
        items = received(self.url, following.commands, token=self._token, backoff=patience)
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Lost):
                    yield item
                    continue
                fields = decode(item)
                following.take(fields)
                yield item, fields
