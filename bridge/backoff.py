"""How long to wait before trying again. Pure: the one who tries does the waiting.

Full jitter: a uniform share of a ceiling that doubles up to a cap. After an outage
everybody comes back, and only spread over the whole ceiling do they not come at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Delays in seconds; `reset()` after success."""

    def __init__(
        self,
        first: float = 0.05,
        cap: float = 5.0,
        share: Callable[[], float] = random.random,
    ) -> None:
        """`share` gives numbers in [0, 1)."""
        self._first = first
        self._cap = cap
        self._share = share
        self._ceiling = first

    def delay(self) -> float:
        """The next delay; each call is one more failure."""
        delay = self._ceiling * self._share()
        self._ceiling = min(self._ceiling * 2, self._cap)
        return delay

    def reset(self) -> None:
        self._ceiling = self._first
