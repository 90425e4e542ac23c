"""Keys that who issues tokens publishes: fetched when needed, kept, and used for a while
when they cannot be had.

The address is the config's and never a token's. A token names a key; a name that is not
known is looked up at most once in `PAUSE`, so inventing names fetches nothing. Who comes
with one meanwhile is told to try again: the key may be a new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING

from bridge.auth import keys
from bridge.errors import ProtocolError, TokenError
from bridge.wire import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.auth.keys import Key

log = logging.getLogger(__name__)

FRESH = 600.0
"""Seconds that keys are used without a look whether there are others."""

PAUSE = 10.0
"""Seconds between two fetches at least."""

STALE = 3600.0
"""Seconds that keys are used when newer ones cannot be had."""

PATIENCE = 5.0
"""Seconds for a fetch."""

SIZE = 256 * 1024
"""Bytes of an answer."""


class Cache:
    """What is known, and whether to look again. Pure; times are seconds of one clock."""

    def __init__(self) -> None:
        self._keys: Mapping[str | None, Key] = {}
        self._fetched = self._tried = -float("inf")

    def lacks(self, kid: str | None, now: float) -> bool:
        return kid not in self._keys or now - self._fetched >= STALE

    def wants(self, kid: str | None, now: float) -> bool:
        """Whether to fetch, for a token that names this key."""
        if now - self._tried < PAUSE:
            return False
        return kid not in self._keys or now - self._fetched >= FRESH

    def try_at(self, now: float) -> None:
        self._tried = now

    def put(self, found: Mapping[str | None, Key], now: float) -> None:
        self._keys, self._fetched = found, now

    def find(self, kid: str | None, since: float, now: float) -> Key:
        """The key for a token that came at `since`. Raises ProtocolError if there is none."""
        if not self.lacks(kid, now):
            return self._keys[kid]
        if self._fetched >= since:
            raise TokenError("the token is not valid")
        raise ProtocolError(ErrorCode.UNAVAILABLE, "the token cannot be verified now; try again")


class KeySet:
    """Keys of one address. `fetch` blocks, and raises OSError or ValueError; `clock` is seconds."""

    def __init__(
        self,
        fetch: Callable[[], bytes],
        algorithms: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._clock = clock
        self._cache = Cache()
        self._turn = asyncio.Lock()

    async def find(self, kid: str | None) -> Key:
        """Raises ProtocolError: TokenError if there is no such key, else it may be tried again."""
        since = self._clock()
        # Who needs what is being fetched waits for it; who has a key that is only old does not.
        if self._cache.wants(kid, since) or self._cache.lacks(kid, since):
            async with self._turn:
                if self._cache.wants(kid, self._clock()):
                    await self._refresh()
        return self._cache.find(kid, since, self._clock())

    async def _refresh(self) -> None:
        self._cache.try_at(self._clock())
        try:
            text = await asyncio.to_thread(self._fetch)
            self._cache.put(keys.published(text, self._algorithms), self._clock())
        except (OSError, ValueError, HTTPException) as error:
            log.warning("keys could not be fetched", extra={"reason": str(error)})


class _Straight(urllib.request.HTTPRedirectHandler):
    """Another address would be one that the config does not name."""

    def redirect_request(self, *_: object) -> None:
        return None


def fetch(url: str) -> bytes:
    """Blocks for `PATIENCE`, or twice that at the worst. Raises OSError or ValueError."""
    end = time.monotonic() + PATIENCE
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    with urllib.request.build_opener(_Straight).open(request, timeout=PATIENCE) as answer:
        text = bytearray()
        while chunk := answer.read1(SIZE):
            text += chunk
            if len(text) > SIZE:
                raise ValueError(f"the answer is over {SIZE // 1024} KiB")
            if time.monotonic() > end:
                raise TimeoutError(f"the answer took over {PATIENCE:.0f} s")
        return bytes(text)
