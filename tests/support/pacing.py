"""What is real of paced capture, without the rest of a bridge: writers, followers, deaths.

A follower is a Listener, a Feed and its Pacing on a database. It notes when it sees each
write, and is fine when it has seen all that were committed.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from bridge import pool
from bridge.changelog import Changelog
from bridge.changes import Gap, Ring
from bridge.feed import Feed
from bridge.listener import Listener, Notifier
from bridge.pacer import State, Tempo
from bridge.pacing import Pacing
from tests.support import PATIENCE, connect

if TYPE_CHECKING:
    from bridge.changes import Change, Mark
    from bridge.config import Config

TABLE = "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)"
CONFIG = "\n  items: {durable: true}\n"
LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

# So restless that it goes to sleep and wakes at nearly every write, and without the belt.
RESTLESS = Tempo(pace=0.003, led=0.01, rest=0.004, few=1, busy=1, within=1.0, check=1e9)


class Counted(Pacing):
    """Counts how often it came to rest and woke."""

    turns = 0
    led = 0

    def _changed(self) -> None:
        self._count()
        super()._changed()

    def _count(self) -> None:
        before, now = getattr(self, "_before", None), self.pacer.state
        resting = State.RESTING
        self.turns += before is not None and (before is resting) is not (now is resting)
        self.led += now is State.LEADING and before is not now
        self._before = now


class Follower:
    """`seen` is when each key was read first."""

    def __init__(self, config: Config, tempo: Tempo) -> None:
        self.config = config
        self.seen: dict[int, float] = {}
        self.pacing = Counted(config.listen, config.schema, tempo=tempo)
        self.ready = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self) -> None:
        async with pool.open_pool(self.config) as connections:
            self.feed = Feed(
                Changelog(connections, self.config.schema),
                {"items": (1, 0)},
                self.pacing,
                take=self._take,
                gap=self._gap,
                followed=lambda: True,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.pacing.run())
                tasks.create_task(self._listen())
                tasks.create_task(self._read())

    async def sees(self, keys: set[int], patience: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not keys <= self.seen.keys():
                    self._news.clear()
                    await self._news.wait()

    def _take(self, changes: list[Change], _: Mark) -> None:
        now = time.monotonic()
        for change in changes:
            self.seen.setdefault(int(change.key[0]), now)
        self._news.set()

    def _gap(self, gap: Gap, _: Mark) -> None:
        raise AssertionError(gap)

    async def _listen(self) -> None:
        notifier = Notifier(self.config.database, self.config.schema)
        listener = Listener(
            self.config.listen, self.config.schema, probe=notifier.notify, widths={"items": (1, 0)}
        )
        with closing(notifier):
            async with aclosing(listener.listen()) as items:
                async for item in items:
                    if isinstance(item, Ring):
                        self.feed.heard(item)
                    elif isinstance(item, Gap):
                        await self.feed.begun()
                        self.ready.set()

    async def _read(self) -> None:
        while True:
            await self.feed.wait()
            await self.feed.read()
            await asyncio.sleep(0)


class Writes:
    """Those that were committed, by key, with the time when the commit was known to be done."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.dice = random.Random(seed)
        self.committed: dict[int, float] = {}

    async def run(self, end: float) -> None:
        """One session: short and long transactions, of all levels, with and without savepoints."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as session:
            await session.set_autocommit(True)
            while time.monotonic() < end:
                await self._transact(session)
                await asyncio.sleep(self.dice.choice([0, 0.01, 0.03, 0.06]))

    async def _transact(self, session: psycopg.AsyncConnection[Any]) -> None:
        dice = self.dice
        await session.execute(f"BEGIN ISOLATION LEVEL {dice.choice(LEVELS)}".encode())
        keys = [await self._insert(session)]
        if dice.random() < 0.3:
            await session.execute("SAVEPOINT s")
            inner = await self._insert(session)
            await asyncio.sleep(dice.choice([0, 0.01]))
            if dice.random() < 0.5:
                await session.execute("ROLLBACK TO s")
            else:
                keys.append(inner)
        await asyncio.sleep(dice.choice([0, 0, 0, 0.005, 0.02, 0.08]))
        if dice.random() < 0.1:
            await session.execute("ROLLBACK")
            return
        await session.execute("COMMIT")
        self.committed.update(dict.fromkeys(keys, time.monotonic()))

    async def _insert(self, session: psycopg.AsyncConnection[Any]) -> int:
        found = await session.execute("INSERT INTO items DEFAULT VALUES RETURNING id", prepare=True)
        row = await found.fetchone()
        assert row is not None
        return int(row[0])


class Outcome(NamedTuple):
    """Of one run. `waits` are seconds from commit to the later of the followers, sorted."""

    committed: int
    unseen: int
    turns: int
    led: int
    killed: int
    waits: list[float]


_KILL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks
WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def kill(url: str, period: float, end: float) -> int:
    """End sessions that hold or await the lock; how many."""
    killed = 0
    with connect(url) as admin:
        while time.monotonic() < end:
            await asyncio.sleep(period)
            row = admin.execute(_KILL).fetchone()
            killed += row[0] if row else 0
    return killed


async def outcome(
    config: Config, seconds: float, tempo: Tempo = RESTLESS, writers: int = 2, seed: int = 1
) -> Outcome:
    """Two followers; afterwards each has time to see what it has not seen yet."""
    followers = [Follower(config, tempo) for _ in range(2)]
    following = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        for follower in followers:
            await follower.ready.wait()
        end = time.monotonic() + seconds
        writes = [Writes(config.database, seed * 100 + n) for n in range(writers)]
        killing = asyncio.create_task(kill(config.database, 0.4, end))
        await asyncio.gather(*(each.run(end) for each in writes))
        killed = await killing
        committed = {key: at for each in writes for key, at in each.committed.items()}
        for follower in followers:
            await follower.sees(set(committed), patience=PATIENCE)
        return _compared(committed, followers, killed)
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)


def _compared(committed: dict[int, float], followers: list[Follower], killed: int) -> Outcome:
    unseen = sum(len(committed.keys() - follower.seen.keys()) for follower in followers)
    waits = sorted(
        max(follower.seen.get(key, at) for follower in followers) - at
        for key, at in committed.items()
    )
    turns = sum(follower.pacing.turns for follower in followers)
    led = sum(follower.pacing.led for follower in followers)
    return Outcome(len(committed), unseen, turns, led, killed, waits)
