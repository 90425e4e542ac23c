"""How long the bridge's event loop keeps everybody else waiting while it tells many of a change.

Asked from outside: one WebSocket pings and is answered by the loop in the very turn that reads the
ping, so the slowest answer is the longest turn, and all that the machine kept the two from. It is
set beside the slowest of as long a time in which nobody is told anything.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.report import Result, Table, Verdict, row
from bench.sockets import PING, PONG, Frames, frame, upgrade
from bench.stats import percentile, spread
from bench.targets.fanout import deliver, message, ours, server_of
from bench.world import postgres

if TYPE_CHECKING:
    from typing import Self

    from bench.run import Run
    from bench.targets.fanout import Ours

TARGET = "P5"
TITLE = "The loop's longest block"

LIMIT = 20.0
"""Milliseconds."""

_PAUSE = 0.001
"""Seconds between an answer and the next ping."""


class Pinger(threading.Thread):
    """Asks without end in the block that it is entered for; `waited` are the seconds of each."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        parts = urlsplit(url)
        self._line = socket.create_connection((parts.hostname, parts.port))
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line.sendall(upgrade(url))
        self._frames = Frames()
        while not self._frames.open:
            self._frames.feed(self._read())
        self._over = threading.Event()
        self._failure: OSError | None = None
        self.waited: list[float] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._line.close()
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        try:
            while not self._over.wait(_PAUSE):
                self.waited.append(self._ask())
        except OSError as error:
            self._failure = error

    def _ask(self) -> float:
        begun = time.perf_counter()
        self._line.sendall(frame(b"", PING))
        while not any(opcode == PONG for opcode, _ in self._frames.feed(self._read())):
            pass
        return time.perf_counter() - begun

    def _read(self) -> bytes:
        if not (data := self._line.recv(65536)):
            raise ConnectionError("the bridge closed the connection that pings it")
        return data


def measure(run: Run) -> Result:
    cases = run.size(((5_000, 1, 30), (1_000, 20, 30)), ((200, 1, 10), (200, 20, 10)))
    idle: dict[tuple[int, int, int], list[float]] = {case: [] for case in cases}
    told: dict[tuple[int, int, int], list[list[float]]] = {case: [] for case in cases}
    with postgres(run.pg) as server:
        for _, case in run.turns(list(cases), 5):
            count, keys, times = case
            with ours(server_of(server), keys) as served:
                quiet, busy = asked(served, count, keys, times)
            idle[case].append(max(quiet) * 1000)
            told[case].append([wait * 1000 for wait in busy])
    rows, verdicts = [], []
    for case in cases:
        label = f"{case[0]:,} subscribers, {case[1]} {'key' if case[1] == 1 else 'keys'}"
        longest = [max(waits) for waits in told[case]]
        most = [percentile(waits, 99) for waits in told[case]]
        rows.append(row(label, idle[case], most, longest))
        verdicts.append(Verdict(f"longest block, {label}", spread(longest).median, LIMIT, "ms"))
    columns = ("longest while idle, ms", "p99 while told, ms", "longest while told, ms")
    return Result("blocks", TARGET, TITLE, (Table(columns, tuple(rows)),), tuple(verdicts))


def asked(served: Ours, count: int, keys: int, times: int) -> tuple[list[float], list[float]]:
    """Seconds of each answer while nobody is told anything, and while all are, so many times."""
    with served.subscribers(count) as everybody:
        said = [message(number) for number in range(keys)]
        deliver(served, everybody, said, 3)
        with Pinger(served.socket) as busy:
            begun = time.monotonic()
            deliver(served, everybody, said, times)
            took = time.monotonic() - begun
        with Pinger(served.socket) as quiet:
            time.sleep(took)
        return quiet.waited, busy.waited
