"""Lets a connection go when the event loop hangs, which the loop itself cannot notice.

A session that listens and does not read pins the NOTIFY queue of the whole cluster, and
when that is full every commit that notifies fails. So a thread looks after the loop.

- The thread counts its own looks, not seconds: a process that was stopped, or a machine
  that slept, did not look either, and is not taken for a loop that hangs.
- It has a descriptor of its own. libpq may close the one it reads from at any moment, and
  its number be another connection's by then.
- First it lets go, then it logs: what hangs may be the log.

Code that keeps the interpreter to itself stops this thread too, and so does SIGSTOP. Then
the server's `tcp_user_timeout` is what is left (see `listener`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import traceback
from contextlib import closing, suppress
from typing import Self

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks; the loop is to turn twice as often."""

PATIENCE = 5
"""Looks in a row without a turn of the loop after which it counts as hanging."""

_FRAMES = 5


class Pulse:
    """Whether something still turns. `beat` and `hangs` may belong to different threads."""

    def __init__(self, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._beats = 0
        self._seen = 0
        self._missed = 0

    def beat(self) -> None:
        self._beats += 1

    def hangs(self) -> bool:
        """One look: True if this and the last ones, `patience` together, saw no beat."""
        beats = self._beats
        self._missed = self._missed + 1 if beats == self._seen else 0
        self._seen = beats
        return self._missed >= self._patience


class Watchdog:
    """A context of the running loop. `line` is shut down if the loop hangs, and closed after it."""

    def __init__(self, line: socket.socket, interval: float | None = None) -> None:
        self._line = line
        self._interval = INTERVAL if interval is None else interval
        self._pulse = Pulse()
        self._over = threading.Event()
        self._watched = threading.get_ident()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._turn()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Nobody waits for the thread: it closes what is its own, and it may be logging.
        self._timer.cancel()
        self._over.set()

    def _turn(self) -> None:
        self._pulse.beat()
        self._timer = self._loop.call_later(self._interval / 2, self._turn)

    def _watch(self) -> None:
        with closing(self._line):
            while not self._over.wait(self._interval):
                if self._pulse.hangs():
                    self._let_go()
                    return

    def _let_go(self) -> None:
        with suppress(OSError):  # the other side was faster
            self._line.shutdown(socket.SHUT_RDWR)
        log.error("the event loop hangs; listening is given up", extra={"at": self._place()})

    def _place(self) -> list[str]:
        """What the loop's thread is doing, innermost last."""
        frame = sys._current_frames().get(self._watched)
        summary = traceback.extract_stack(frame)[-_FRAMES:] if frame else []
        return [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in summary]
