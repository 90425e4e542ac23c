"""Those who never read, among those who do: what it costs them. `python -m tests.readers`.

500 subscribers read one cell each while 200 updates of 5 KB are written a second. In every
other phase there are 50 more, over WebSocket and SSE, who ask for all cells and take nothing;
one who is closed for that is back at once. Shown are the others' delays, from the write to
the client, side by side, and the memory of the bridge. Exit status 1 if that is not bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from websockets.asyncio.client import connect as websocket

from bridge.demo.postgres import Postgres, find_binaries
from tests.support import connect, fresh_database
from tests.support.commands import Rowcast
from tests.support.silent import Measured, silent

if TYPE_CHECKING:
    import socket

CELLS = 20
SCHEMA = f"""
CREATE TABLE cells (id int PRIMARY KEY, at float8 NOT NULL, note text NOT NULL);
INSERT INTO cells SELECT id, 0, repeat('x', 5000) FROM generate_series(1, {CELLS}) id;
"""
CONFIG = "tables:\n  cells: {debounce: 5ms, max_wait: 10ms}\n"
WRITE = "UPDATE cells SET at = extract(epoch FROM clock_timestamp()) WHERE id = %s"

EACH = 1_100_000
"""Bytes that one who never reads may cost: what is written to it, and a little."""

BASE = 50_000_000
"""Bytes that the bridge may grow by in any case."""


class Phase(NamedTuple):
    """Delays in seconds; memory in bytes, beyond what it was before."""

    silent: int
    delays: list[float]
    memory: int

    def line(self) -> str:
        p99 = quantiles(self.delays, n=100)[98]
        times = f"{median(self.delays) * 1000:8.1f} ms {p99 * 1000:8.1f} ms"
        return f"{self.silent:7} {len(self.delays):9,} {times} {self.memory / 1e6:8.1f} MB"


class Writer(threading.Thread):
    """So many updates a second, in turn, until `stop`."""

    def __init__(self, url: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._url, self._rate = url, rate
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with connect(self._url) as session:
            due, number = time.monotonic(), 0
            while not self._over.wait(max(0.0, due - time.monotonic())):
                session.execute(WRITE, (number % CELLS + 1,))
                due, number = due + 1 / self._rate, number + 1


class Crowd:
    """Readers of one bridge; `delays` are of the changes that any of them got since `begin`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.delays: list[float] = []
        self.ready = 0

    async def read(self, cell: int) -> None:
        async with websocket(self._url, compression=None) as line:
            await line.send(f'{{"type":"subscribe","topic":"cells/{cell}"}}')
            async for frame in line:
                message = json.loads(frame)
                self.ready += message["type"] == "snapshot"
                if message["type"] == "change":
                    self.delays.append(time.time() - message["row"]["at"])

    async def complete(self, count: int) -> None:
        while self.ready < count:
            await asyncio.sleep(0.05)


class Silent:
    """As many as there shall be; who is closed comes back."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lines: list[socket.socket] = []

    async def come(self, count: int, subscribers: float) -> None:
        for n in range(count - round(subscribers)):
            with suppress(OSError):
                self._lines.append(await asyncio.to_thread(silent, self._address, n, "cells"))

    def go(self) -> None:
        while self._lines:
            self._lines.pop().close()


async def measured(arguments: argparse.Namespace, url: str, directory: Path) -> list[Phase]:
    with connect(url) as session:
        session.execute(SCHEMA)
    (directory / "config.yaml").write_text(CONFIG)
    rowcast, writer = Rowcast(directory, url), Writer(url, arguments.rate)
    await rowcast.migrate()
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(rowcast.serving())
        crowd = Crowd(f"{serving.address}/ws".replace("http", "ws", 1))
        tasks = [asyncio.create_task(crowd.read(n % CELLS + 1)) for n in range(arguments.reading)]
        await crowd.complete(arguments.reading)
        writer.start()
        bridge, silent = Measured(serving), Silent(serving.address)
        counts = [0, arguments.silent] * arguments.rounds
        phases = [await _phase(arguments, crowd, bridge, silent, count) for count in counts]
        writer.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return phases


async def _phase(
    arguments: argparse.Namespace, crowd: Crowd, bridge: Measured, silent: Silent, count: int
) -> Phase:
    loop = asyncio.get_running_loop()
    before, most = bridge.memory(), 0
    end, crowd.delays = loop.time() + arguments.seconds, []
    while loop.time() < end:
        there = await bridge.metric("rowcast_subscribers") - arguments.reading
        await silent.come(count, there)
        most = max(most, bridge.memory() - before)
        await asyncio.sleep(0.2)
    phase = Phase(count, crowd.delays, most)
    silent.go()
    print(phase.line(), flush=True)
    return phase


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reading", type=int, default=500)
    parser.add_argument("--silent", type=int, default=50)
    parser.add_argument("--rate", type=float, default=200.0, help="updates a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase")
    parser.add_argument("--rounds", type=int, default=2, help="each without and with them")
    parser.add_argument("--pg", help="which PostgreSQL, as for the tests")
    arguments = parser.parse_args()
    head = f"{'silent':>7} {'delivered':>9} {'median':>11} {'p99':>11} {'memory':>11}"
    with Postgres.start(binaries=find_binaries(arguments.pg)) as server:
        print(f"PostgreSQL {server.version}, {arguments.reading} who read\n{head}")
        for url in fresh_database(server, "template0"):
            with tempfile.TemporaryDirectory() as directory:
                phases = asyncio.run(measured(arguments, url, Path(directory)))
    bounded = all(phase.memory < BASE + EACH * phase.silent for phase in phases)
    alone, beside = (
        quantiles([d for p in phases if bool(p.silent) is there for d in p.delays], n=100)[98]
        for there in (False, True)
    )
    print(f"p99 beside them ÷ without: {beside / alone:.2f}")
    print("memory is bounded" if bounded else "memory is not bounded")
    return 0 if bounded else 1


if __name__ == "__main__":
    sys.exit(main())
