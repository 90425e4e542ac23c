"""What faults act upon: the server, a database of it, the bridges, and what the schema is."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from bridge import config as configuration
from bridge import migrate
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from bridge.demo.postgres import Postgres
    from tests.chaos.cluster import Cluster
    from tests.chaos.fleet import Fleet
    from tests.chaos.history import Histories
    from tests.chaos.schema import Schema
    from tests.chaos.workload import Outage

PATIENCE = 60.0
"""Seconds after which something that is tried again and again is given up."""


class World:
    """`off_loop` runs what blocks on a thread that lives as long as the server.

    `ahead`: the epoch is, as after a clock was set back, ahead of the time.
    """

    def __init__(
        self,
        cluster: Cluster,
        thread: ThreadPoolExecutor,
        database: str,
        schema: Schema,
        directory: Path,
        outage: Outage,
        histories: Histories,
    ) -> None:
        self.cluster = cluster
        self.database = database
        self.schema = schema
        self.directory = directory
        self.outage = outage
        self.histories = histories
        self.ahead = False
        self.fleet: Fleet
        self._thread = thread

    @property
    def postgres(self) -> Postgres:
        """The primary now."""
        return self.cluster.primary

    @property
    def url(self) -> str:
        return self.postgres.url(self.database)

    def moved(self) -> None:
        """Another server is the primary."""
        self.fleet.aim(self.postgres.port)

    async def off_loop(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, partial(function, *arguments)
        )

    @asynccontextmanager
    async def session(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """One in autocommit mode, by which nothing of the bridge can be meant."""
        async with await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, connect_timeout=30, application_name="chaos"
        ) as session:
            yield session

    async def execute(self, statement: str, *values: object) -> list[Any]:
        """In a session of its own, tried until it succeeds."""
        return await persistently(lambda: self._once(statement, values))

    async def _once(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        async with self.session() as session:
            await session.execute("SET lock_timeout = '1s'")
            cursor = await session.execute(statement, values or None)
            return await cursor.fetchall() if cursor.description else []

    async def migrate(self) -> None:
        """What `rowcast migrate` does; tried again, for a fault may meet it."""
        text = (self.directory / "config.yaml").read_text()
        config = configuration.loads(text, env={"DATABASE_URL": self.url})
        await persistently(
            lambda: asyncio.to_thread(migrate.apply, config, progress=lambda _line: None)
        )


async def persistently(action: Callable[[], Awaitable[Any]]) -> Any:
    """Try until it succeeds, or fails for good."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await action()
        except (psycopg.Error, BridgeError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)
