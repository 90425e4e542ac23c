"""The oracle for resuming: who hops between instances by cursor holds what SELECT returns.

Nobody who resumes is shown a snapshot, so a change that a cursor passes over stays missed.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

from tests.support import connect
from tests.support.bridges import configure, running
from tests.support.replica import Held, rows
from tests.support.visitor import visiting
from tests.support.workload import CONFIG, TABLE, TOPICS, transaction

if TYPE_CHECKING:
    import psycopg

    from tests.support.bridges import Running
    from tests.support.replica import Rows
    from tests.support.visitor import Message


def truth(connection: psycopg.Connection, topic: str) -> Rows:
    """What the topic holds by the table."""
    kind, _, rest = topic.partition("/")
    if not rest:
        return rows(connection, "SELECT * FROM cells")
    column, value = ("id", rest) if kind == "cells" else ("grp", rest.partition("/")[0])
    return rows(connection, f"SELECT * FROM cells WHERE {column} = %s", int(value))


class Gentle(Random):
    """Never as large as the workload's TRUNCATE needs, after which nobody can resume."""

    def random(self) -> float:
        return super().random() * 0.98


def work(url: str, seed: int, stop: threading.Event) -> None:
    with connect(url) as connection:
        chance = Gentle(seed)
        for _ in range(250):
            if not stop.is_set():
                transaction(connection, chance)


class Hopper:
    """Follows one topic for a few messages, leaves in the midst of things, comes back elsewhere."""

    def __init__(self, bridges: list[Running], topic: str, random: Random) -> None:
        self._bridges = bridges
        self.topic = topic
        self._random = random
        self.held = Held()
        self._cursor: str | None = None
        self.resumed = self.begun = 0

    async def hop(self, *, leave_early: bool = True) -> None:
        """One visit until a `pong` comes behind all there is, or to any message before it."""
        async with visiting(
            self._random.choice(self._bridges).url, self.topic, self._cursor
        ) as visit:
            where = {} if self._cursor is None else {"since": self._cursor}
            await visit.send(type="subscribe", topic=self.topic, **where)
            while not self._take(await visit.next()):
                pass
            await visit.send(type="ping")
            while not self._take(await visit.next()):
                if leave_early and self._random.random() < 0.1:
                    break
            self._cursor = visit.cursor

    def _take(self, message: Message) -> bool:
        """Whether that was an answer, to `subscribe` or to `ping`."""
        if message["type"] == "subscribed":
            self.resumed += message["resumed"]
            self.begun += not message["resumed"]
        elif message["type"] in ("snapshot", "change"):
            self.held.fold(message)
        return message["type"] in ("subscribed", "pong")

    async def wander(self, stop: threading.Event) -> None:
        while not stop.is_set():
            await self.hop()


async def test_everybody_who_hops_by_cursor_equals_the_table(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    stop = threading.Event()
    async with AsyncExitStack() as stack:
        config = configure(database, CONFIG + "    durable: true\n")
        bridges = [await stack.enter_async_context(running(config)) for _ in range(2)]
        hoppers = [Hopper(bridges, topic, Random(n)) for n, topic in enumerate(TOPICS)]
        hopping = [asyncio.create_task(hopper.wander(stop)) for hopper in hoppers]
        try:
            await asyncio.gather(
                *(asyncio.to_thread(work, database, seed, stop) for seed in range(3))
            )
        finally:
            stop.set()
        await asyncio.gather(*hopping)
        for hopper in hoppers:
            await hopper.hop(leave_early=False)
            assert hopper.held.rows == truth(admin, hopper.topic), hopper.topic
    assert sum(hopper.resumed for hopper in hoppers) > 5 * sum(h.begun for h in hoppers)
