"""An instance's answers to `rowcast status`, and to who asks it by HTTP.

Nothing is sent unless somebody asks. Any role may ask, as often as it likes: so at most `MOST` who
asked are answered every `PACE` seconds, through a session that is opened for it and closed again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bridge import __version__, status
from bridge.errors import DatabaseError
from bridge.session import Session, Target
from bridge.status import Status

if TYPE_CHECKING:
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.metrics import Metrics

log = logging.getLogger(__name__)

PACE = 0.5
"""Seconds from one answer to the next."""

MOST = 16
"""Who is answered at a time."""

PATIENCE = 5.0
"""Seconds to answer in; who asked has gone by then."""


class Presence:
    """Of one bridge. `address` is where it serves, once it does."""

    def __init__(self, instance: str, hub: Hub, health: Health, metrics: Metrics) -> None:
        self.instance = instance
        self._hub = hub
        self._health = health
        self._metrics = metrics
        self._since = time.time()
        self._asking: dict[str, None] = {}
        self._wake = asyncio.Event()
        self.address = ""

    @property
    def ready(self) -> bool:
        return self._health.ready

    def status(self) -> Status:
        """For those who may know what PostgreSQL said."""
        return Status(
            instance=self.instance,
            version=__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            address=self.address,
            since=self._since,
            ready=self.ready,
            reasons=tuple(self._health.reasons.values()),
            subscribers=self._hub.subscribers,
            topics=self._hub.topics,
            dirty=int(self._gauge("dirty_keys")),
            lag=max(self._gauge("log_lag_seconds"), self._gauge("changes_lag_seconds")),
            leading=bool(self._gauge("leading")),
            queue=self._gauge("notify_queue_usage_ratio"),
            drift=int(self._gauge("drift")),
        )

    def _gauge(self, name: str) -> float:
        return self._metrics.registry.get_sample_value(f"rowcast_{name}") or 0.0

    def asked(self, to: str) -> None:
        """Somebody wants to know; who is one too many has to ask again."""
        if len(self._asking) < MOST:
            self._asking[to] = None
            self._wake.set()

    async def answer(self, conninfo: str) -> None:
        """Whoever asks, for ever."""
        target = Target(conninfo)
        while True:
            await self._wake.wait()
            self._wake.clear()
            asking, self._asking = self._asking, {}
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._send(target, list(asking))
            except (psycopg.Error, DatabaseError, OSError, TimeoutError) as error:
                log.debug("status not told", extra={"reason": target.describe(error)})
            await asyncio.sleep(PACE)

    async def _send(self, target: Target, asking: list[str]) -> None:
        reasons = tuple(status.outline(self._health.reasons))
        told = sql.Literal(status.encode(self.status()._replace(reasons=reasons)))
        with closing(await Session.connect(target)) as session:
            for to in asking:
                name = sql.Identifier(status.channel(to))
                await session.execute(sql.SQL("NOTIFY {}, {}").format(name, told))
