"""A subscriber in Python: connects, follows topics, and comes back when the line drops.

It keeps the contract's client rules: an end with 4500 or above is final, any other is
followed by a new connection after a delay with full jitter, and then by new snapshots.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from bridge.backoff import Backoff
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FINAL = 4500
"""Close codes from here on say: do not come back."""

MESSAGE = 64 * 1024 * 1024
"""Bytes of the largest message taken; a page may hold one very large row."""


async def messages(
    url: str, topics: Sequence[str], *, backoff: Backoff | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Every message about these topics, for ever, as the server sends them.

    `url` is the address of the endpoint, `ws://host:port/ws`. Raises BridgeError if the
    server says that coming back is of no use.
    """
    backoff = backoff or Backoff(first=0.5, cap=30.0)
    while True:
        try:
            async for message in _connected(url, topics):
                backoff.reset()
                yield message
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            if final := _final(error):
                raise BridgeError(f"{url}: {final}") from error
        await asyncio.sleep(backoff.delay())


async def _connected(url: str, topics: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    async with connect(url, max_size=MESSAGE, compression=None) as connection:
        for topic in topics:
            await connection.send(json.dumps({"type": "subscribe", "topic": topic}))
        async for frame in connection:
            yield json.loads(frame)


def _final(error: Exception) -> str | None:
    """Why coming back is of no use, if it is of none."""
    if isinstance(error, InvalidStatus) and error.response.status_code < 500:
        body = (error.response.body or b"").decode(errors="replace").strip()
        return f"refused with {error.response.status_code}: {body}"
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code >= FINAL:
        return f"closed for good: {error.rcvd}"
    return None
