"""Whether this instance may be given subscribers, and if not, why not."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)


class Health:
    """Reasons against being ready, by who gave them; ready when there is none."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._ready = asyncio.Event()
        self.begin()

    def begin(self) -> None:
        """Nothing is known yet; what was held against the last config counts no more."""
        stopping = {who: why for who, why in self.reasons.items() if who == "stop"}
        self.reasons = stopping | {
            "listener": "not listening yet",
            "triggers": "triggers not compared with the config yet",
        }
        self._ready.clear()

    @property
    def ready(self) -> bool:
        return not self.reasons

    def fail(self, who: str, reason: str) -> None:
        self.reasons[who] = reason
        self._ready.clear()

    def clear(self, who: str) -> None:
        self.reasons.pop(who, None)
        if self.ready and not self._ready.is_set():
            self._ready.set()
            log.info("ready")

    async def wait(self) -> None:
        """Until there is no reason left."""
        await self._ready.wait()
