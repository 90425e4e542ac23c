"""Many subscribers in a process of their own, told what to do by lines on stdin.

    python -m bench.crowd '{"url": …, "count": …, "say": […], "ready": …, "mark": …}'

Each connects, sends what it has to `say` (`$n` stands for its number, `$n+3%500` for that plus 3
modulo 500) and is settled after so many text messages; `ready` is printed once all are. `wait N`
prints `done` once N more have come to all of them together. `move URL` has whoever is
disconnected come back there; `right SECONDS` is printed once each has, for each of its topics, a
message with `mark` in it, seconds after the first disconnection.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.processes import python
from bench.sockets import PING, PONG, TEXT, Frames, frame, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.processes import Process

AT_ONCE = 100
"""Connections that are being opened at a time."""

_TOPIC = re.compile(rb'"topic":"([^"]*)"')


class Member(asyncio.Protocol):
    """One subscriber."""

    def __init__(self, crowd: Members, say: list[str]) -> None:
        self._crowd = crowd
        self._say = say
        self._frames = Frames()
        self._heard = 0
        self.right: set[bytes] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(upgrade(self._crowd.url))
        self._began = False

    def data_received(self, data: bytes) -> None:
        texts = 0
        for opcode, body in self._frames.feed(data):
            if opcode == TEXT:
                texts += 1
                if self._crowd.mark:
                    self._look(body)
            elif opcode == PING:
                self._transport.write(frame(body, PONG))
        if not self._began and self._frames.open:
            self._begin()
        if texts:
            self._count(texts)

    def connection_lost(self, _: Exception | None) -> None:
        self._crowd.lost(self._say)

    def _begin(self) -> None:
        self._began = True
        self._transport.writelines([frame(text.encode()) for text in self._say])
        self._crowd.opened.release()
        if not self._crowd.settled:
            self._crowd.joined()

    def _count(self, texts: int) -> None:
        before, self._heard = self._heard, self._heard + texts
        if before < self._crowd.settled <= self._heard:
            self._crowd.joined()
        self._crowd.heard(texts)

    def _look(self, body: bytes) -> None:
        if self._crowd.mark in body and (found := _TOPIC.search(body)):
            self.right.add(found[1])
            if len(self.right) == len(self._say):
                self._crowd.righted(self)


class Members:
    """All of them, and what has come to them together."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.url: str = order["url"]
        self.settled: int = order["ready"]
        self.mark: bytes = order.get("mark", "").encode()
        self.opened = asyncio.Semaphore(AT_ONCE)
        self._says = [said(order["say"], n) for n in range(order["count"])]
        self._joined = self._total = 0
        self._goal: int | None = None
        self._moved: float | None = None
        self._right: set[Member] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        for say in self._says:
            await self._connect(say)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode():
            self._obey(*line.split())

    def joined(self) -> None:
        self._joined += 1
        if self._joined == len(self._says):
            _print("ready")

    def heard(self, texts: int) -> None:
        self._total += texts
        if self._goal is not None and self._total >= self._goal:
            self._goal = None
            _print("done")

    def lost(self, say: list[str]) -> None:
        if not self.mark:
            return
        self._moved = self._moved or time.monotonic()
        task = asyncio.ensure_future(self._connect(say))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def righted(self, member: Member) -> None:
        self._right.add(member)
        if self._moved is not None and len(self._right) == len(self._says):
            _print(f"right {time.monotonic() - self._moved:.3f}")

    def _obey(self, command: str, value: str) -> None:
        if command == "wait":
            self._goal = self._total + int(value)
            _print("waiting")
        elif command == "move":
            self.url = value
            _print("moving")

    async def _connect(self, say: list[str]) -> None:
        await self.opened.acquire()
        parts = urlsplit(self.url)
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: Member(self, say), parts.hostname, parts.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return


def said(texts: list[str], n: int) -> list[str]:
    """`$n` is the subscriber's number; `$n+3%500` that number plus 3, modulo 500."""
    return [re.sub(r"\$n(?:\+(\d+)%(\d+))?", lambda m: str(_number(n, m)), text) for text in texts]


def _number(n: int, found: re.Match[str]) -> int:
    return (n + int(found[1])) % int(found[2]) if found[1] else n


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


class Crowd:
    """The handle on that process."""

    def __init__(self, process: Process, count: int) -> None:
        self._process = process
        self.count = count

    def expect(self, each: int) -> None:
        """Call it before what is awaited is sent."""
        self._process.tell(f"wait {each * self.count}")
        self._process.says("^waiting$")

    def received(self, patience: float = 120.0) -> None:
        self._process.says("^done$", patience)

    def move(self, url: str) -> None:
        self._process.tell(f"move {url}")
        self._process.says("^moving$")

    def righted(self, patience: float = 120.0) -> float:
        """Seconds from the first disconnection until the last subscriber was right again."""
        return float(self._process.says(r"^right ([\d.]+)$", patience)[1])


@contextmanager
def crowd(url: str, count: int, *say: str, ready: int = 0, mark: str = "") -> Iterator[Crowd]:
    """So many subscribers, all of them settled."""
    order = {"url": url, "count": count, "say": say, "ready": ready, "mark": mark}
    with python("bench.crowd", json.dumps(order)) as process:
        process.says("^ready$", 300.0)
        yield Crowd(process, count)


if __name__ == "__main__":
    asyncio.run(Members(json.loads(sys.argv[1])).run())
