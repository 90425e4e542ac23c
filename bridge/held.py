"""How far what is settled lies behind what is written, and which transaction holds it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.drain import Proof
    from bridge.logbook import Holder, Logbook
    from bridge.metrics import Metrics

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which whoever holds the log is named, once."""


class Held:
    """For one feed. At most one transaction is named at a time, so labels are few."""

    def __init__(self, book: Logbook, metrics: Metrics) -> None:
        self._book = book
        self._metrics = metrics
        self._named: str | None = None
        self._since: float | None = None
        self._asked = 0.0
        self._holder: Holder | None = None

    def clear(self) -> None:
        """Nothing waits."""
        self._since = None
        self._measure(0, 0.0)
        self._forget()

    async def look(self, proof: Proof, behind: int, age: float) -> None:
        """So many numbers wait, the oldest for so many seconds."""
        self._measure(behind, age)
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        if self._named not in proof.holders:
            self._forget()
        # Looked at again, for it may have been prepared since and left its session.
        if proof.holders and now - max(self._since, self._asked) > PATIENCE:
            self._asked = now
            await self._name(self._named or min(proof.holders), now - self._since)

    def _measure(self, behind: int, age: float) -> None:
        self._metrics.log_positions.set(behind)
        self._metrics.log_seconds.set(age)

    async def _name(self, name: str, seconds: float) -> None:
        holder = await self._book.who(name)
        if holder is None or holder == self._holder:
            return
        self._forget()
        self._named, self._holder = name, holder
        about = holder._asdict() | {"pid": str(holder.pid or "")}
        self._metrics.log_held.labels(**about).set(1)
        log.warning("log held", extra=about | {"seconds": round(seconds, 1)})

    def _forget(self) -> None:
        self._named = self._holder = None
        self._metrics.log_held.clear()
