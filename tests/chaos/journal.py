"""What writers did to which key, and when the database was out of their reach."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = 30


class Outage:
    """When the database was out of the application's reach, by a fault's doing."""

    def __init__(self) -> None:
        self._open = 0
        self._ended = float("-inf")

    @contextmanager
    def declared(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._ended = time.monotonic()

    def explains(self, since: float) -> bool:
        """Whether something that began at `since` and failed now may have failed by it."""
        return self._open > 0 or self._ended >= since


class Journal:
    """The latest writes of each key and of each table, for the report of a failure."""

    def __init__(self) -> None:
        self._entries: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self.writes = 0
        self.kinds: dict[str, int] = defaultdict(int)

    def note(self, place: str, text: str) -> None:
        self._entries[place].append(f"{time.monotonic():.3f} {text}")

    def about(self, table: str, key: str) -> list[str]:
        return [*self._entries[table], *self._entries[f"{table} {key}"]]
