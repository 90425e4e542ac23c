"""Several processes that serve one port, each a whole instance, and the one that minds them.

- A worker is forked from here, where there is neither a thread nor an event loop.
- One that dies is started again, after a pause that grows with each death in a row. One that
  ends with an error of its own at its first start ends all: it would end the same way again.
- Signals are passed on. Each worker is a process group of its own, or a terminal's Ctrl-C
  would reach it twice, and the second one cuts a stop short.
- Workers end when this process is gone: they hold the other end of a pipe that only it keeps.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING

from bridge.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

SETTLED = 60.0
"""Seconds after which a death is not counted as one more in a row."""

PAUSE = 0.2
"""Seconds before a worker is started again, at first at most; then up to five."""

CRASHED = 70
"""What a worker exits with that raised what it should not (EX_SOFTWARE)."""

_STOPS = (signal.SIGTERM, signal.SIGINT)


class Lines:
    """What a worker holds of its supervisor: `life` ends with it, `started` tells it of a start."""

    def __init__(self) -> None:
        self.life, self._held = os.pipe()
        self.news, self._tell = os.pipe()
        os.set_blocking(self.news, False)

    def let_go(self) -> None:
        """In a worker: what only the supervisor may hold."""
        os.close(self._held)

    def started(self) -> None:
        os.write(self._tell, b".")


class Worker:
    """One place among the workers, whichever process fills it. Times are `time.monotonic()`'s."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.due: float | None = 0.0
        self.starts = 0
        self._since = 0.0
        self._backoff = Backoff(first=PAUSE)

    def begin(self, pid: int, now: float) -> None:
        self.pid, self.due, self._since = pid, None, now
        self.starts += 1

    def ended(self, status: int, now: float) -> float:
        """Its process is gone; returns after how many seconds there will be another."""
        if now - self._since > SETTLED:
            self._backoff.reset()
        pause = 0.0 if status == 0 else self._backoff.delay()
        self.pid, self.due = None, now + pause
        return pause


class Supervisor:
    """`work` serves as the worker of a number, in a process of its own, and returns its status.

    `started` is called once all serve; `reload` when the workers are told to read their config.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, Lines], int],
        started: Callable[[], None],
        reload: Callable[[], None],
    ) -> None:
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._work = work
        self._started = started
        self._reload = reload
        self._lines = Lines()
        self._wake, self._woken = os.pipe()
        self._missing = count
        self._stops = 0
        self._status = 0

    def run(self) -> int:
        """Until all workers have ended because they were told to, or cannot start."""
        self._listen()
        while True:
            now = time.monotonic()
            for worker in self._workers:
                if worker.due is not None and worker.due <= now:
                    self._start(worker)
            if not any(worker.pid or worker.due is not None for worker in self._workers):
                return self._status
            self._wait()

    def _listen(self) -> None:
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (*_STOPS, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # what counts is the byte in the pipe

    def _wait(self) -> None:
        dues = [worker.due for worker in self._workers if worker.due is not None]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable, _, _ = select.select([self._wake, self._lines.news], [], [], timeout)
        if self._lines.news in readable:
            self._hear(len(os.read(self._lines.news, 1024)))
        if self._wake in readable:
            for number in os.read(self._wake, 1024):
                self._pass_on(signal.Signals(number))
        for pid, status in _ended():
            self._ended(next(worker for worker in self._workers if worker.pid == pid), status)

    def _hear(self, starts: int) -> None:
        if 0 < self._missing <= starts:
            self._started()
        self._missing -= starts

    def _pass_on(self, number: signal.Signals) -> None:
        if number in _STOPS:
            self._stop(number)
        elif number == signal.SIGHUP:
            self._reload()
            self._send(number)

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        for worker in self._workers:
            worker.due = None
        self._send(number)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                os.kill(worker.pid, number)

    def _ended(self, worker: Worker, status: int) -> None:
        pause = worker.ended(status, time.monotonic())
        if self._stops:
            worker.due = None
            # A stop may come before a worker can hear of it; a second one cuts it short.
            harmless = self._stops == 1 and -status in _STOPS
            if status != 0 and not harmless:
                self._status = self._status or max(1, status)
        elif worker.starts == 1 and status in (1, 2):
            self._status = status
            self._stop(signal.SIGTERM)
        else:
            about = {"worker": worker.number, "status": status, "seconds": round(pause, 3)}
            if status:
                log.error("a worker died; another takes its place", extra=about)
            else:
                log.info("a worker ended; another takes its place", extra=about)

    def _start(self, worker: Worker) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become(worker.number)
        worker.begin(pid, time.monotonic())

    def _become(self, number: int) -> None:
        status = CRASHED
        try:
            signal.set_wakeup_fd(-1)
            for each in (*_STOPS, signal.SIGCHLD):
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.setpgid(0, 0)
            self._lines.let_go()
            status = self._work(number, self._lines)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _ended() -> Iterator[tuple[int, int]]:
    """Children that are gone, with their statuses; negative ones are signals."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)
