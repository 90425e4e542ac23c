"""Several bridges, each a process of its own, and every link of theirs in our hands.

An instance keeps its port when it is started again. Between it and PostgreSQL is a proxy
of its own, so that one link can fail alone; before all of them is a balancer, which
connects a client to any instance that accepts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from bridge.demo.ports import free_port
from tests.chaos.witness import Broken
from tests.support import http
from tests.support.commands import ROWCAST
from tests.support.notifications import Notifications
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

_START = 60.0
_END = 30.0


class Balancer(Proxy):
    """Passes each connection on to an instance at random, or to another if that refuses."""

    def __init__(self, instances: Sequence[Instance], random: Random) -> None:
        super().__init__("127.0.0.1", 0)
        self._instances = instances
        self._random = random

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        refusal: OSError = ConnectionRefusedError("no instance has started yet")
        for instance in self._random.sample(self._instances, len(self._instances)):
            try:
                return await asyncio.open_connection("127.0.0.1", instance.port)
            except OSError as error:
                refusal = error
        raise refusal


class Instance:
    """`rowcast serve`, started again as often as it is killed."""

    def __init__(self, name: str, directory: Path, database: str) -> None:
        parts = urlsplit(database)
        self.name = name
        self.port = free_port()
        self.link = Notifications(str(parts.hostname), int(parts.port or 5432))
        self._directory = directory
        self._database = database
        self._log = directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when it takes connections, ready or not."""
        environment = {**os.environ, "DATABASE_URL": self.link.url_for(self._database)}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*ROWCAST, "serve", "--port", str(self.port)),
                cwd=self._directory,
                env=environment | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": _path()},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START):
            line = (await self._process.stdout.readline()).decode()
        if "serving on " not in line:
            raise Broken(f"{self.name} did not start: {line}{self.said()}")
        self.port = int(line.split("serving on ")[1].split()[0].rpartition(":")[2])
        self.starts += 1

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(_END):
                await self._process.communicate()
        except TimeoutError:
            said = await self.autopsy()
            raise Broken(f"{self.name} did not end within {_END:g} s:\n{said}") from None
        return self._process.returncode or 0

    async def autopsy(self) -> str:
        """What each of its threads and tasks waits for; then it is killed."""
        assert self._process is not None
        before = len(self.said())
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGUSR2)
            await asyncio.sleep(1)
            self._process.kill()
        return self.said()[before:]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Inside, its event loop is in a call that does not return (see autopsy/)."""
        sign = self._directory / f"{self.pid}.blocked"
        sign.touch()
        self.signal(signal.SIGUSR1)
        try:
            yield
        finally:
            sign.unlink()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def until_ready(self) -> None:
        await http.until(self.address, "/readyz", ready=True)

    async def metric(self, name: str) -> float:
        text = (await http.get(self.address, "/metrics")).body.decode()
        values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(values[0])

    @property
    def memory(self) -> int:
        """Resident, in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def examine(self) -> None:
        """Raises Broken if it ended by itself, or met an error that nothing expects."""
        assert self._process is not None
        if self._process.returncode is not None:
            status = self._process.returncode
            raise Broken(f"{self.name} ended by itself with {status}: {self.said()[-2000:]}")
        if "Traceback" in (said := self.said()):
            raise Broken(f"{self.name} logged an error: {said[said.index('Traceback') :][:3000]}")


def _path() -> str:
    """Where modules are looked for, first of all the one by which a bridge can be examined."""
    autopsy = str(Path(__file__).parent / "autopsy")
    return os.pathsep.join(filter(None, [autopsy, os.environ.get("PYTHONPATH")]))


class Fleet:
    """`size` instances of the config in `directory`; a context manager."""

    def __init__(self, directory: Path, database: str, size: int, random: Random) -> None:
        self.instances = [
            Instance(f"instance-{n}", directory, database) for n in range(1, size + 1)
        ]
        self.balancer = Balancer(self.instances, random)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for instance in self.instances:
                await stack.enter_async_context(instance.link)
            stack.push_async_callback(self._end)
            await asyncio.gather(*(instance.start() for instance in self.instances))
            await asyncio.gather(*(instance.until_ready() for instance in self.instances))
            await stack.enter_async_context(self.balancer)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def aim(self, port: int) -> None:
        """Where the database is now."""
        for instance in self.instances:
            instance.link.aim("127.0.0.1", port)

    async def _end(self) -> None:
        for instance in self.instances:
            if instance.starts:
                await instance.end()

    @property
    def address(self) -> str:
        """The balancer's."""
        return f"http://127.0.0.1:{self.balancer.port}"
