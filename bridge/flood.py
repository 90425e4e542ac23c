"""No fault writes the log full: each event is a line so often, and then counted.

Whoever floods (clients that are refused, a database that comes and goes, rows that cannot be
read) writes `BURST` lines at once, and in the long run as many a minute. The next line that is
written of an event says how many were `left_out`. Events of ours are literals, so there are few; of
other libraries' loggers each counts as one.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from bridge.rates import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 20
"""Lines of one event at once, and a minute."""


class Flood(logging.Filter):
    """For a handler. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        ours = record.name.partition(".")[0] == "bridge"
        event = str(record.msg) if ours else f"{record.name} {record.levelname}"
        if event not in self._buckets:
            self._buckets[event] = Bucket(BURST / 60, BURST, now)
        if not self._buckets[event].take(now):
            self._left_out[event] += 1
            return False
        if left_out := self._left_out.pop(event, 0):
            record.left_out = left_out
        return True
