"""The installed command, run as a user runs it: in a directory of its own, by its name.

$ROWCAST_COMMAND names another installation to test, the one of a built wheel say.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge import config as configuration
from bridge import migrate
from bridge.demo.ports import free_port
from bridge.errors import BridgeError
from tests.support import PATIENCE, http
from tests.support import serving as serving_role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ROWCAST = shlex.split(os.environ.get("ROWCAST_COMMAND", f"{sys.executable} -m bridge"))


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Rowcast:
    """`rowcast` in `directory`, with DATABASE_URL set."""

    def __init__(self, directory: Path, database: str) -> None:
        self.directory = directory
        self.environment = {**os.environ, "DATABASE_URL": database, "PYTHONUNBUFFERED": "1"}

    async def run(self, *arguments: str) -> Done:
        async with self.running(*arguments) as process:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def migrate(self) -> None:
        """What `rowcast migrate` does, without a process, whose imports take a second."""
        config = configuration.load(self.directory / "config.yaml", self.environment)
        await asyncio.to_thread(migrate.apply, config, progress=lambda _line: None)

    def _lent(self, arguments: tuple[str, ...]) -> dict[str, str]:
        """Whom a command logs in as that is the serving role's to run, if the suite runs so."""
        if not serving_role.asked or arguments[0] not in serving_role.COMMANDS:
            return {}
        named = {*arguments} & {"-c", "--config"}
        file = arguments[arguments.index(named.pop()) + 1] if named else "config.yaml"
        try:
            config = configuration.load(self.directory / file, self.environment)
        except BridgeError:
            return {}  # the command will say so itself
        own = config.database == self.environment["DATABASE_URL"]
        return {"DATABASE_URL": serving_role.lent(config).database} if own else {}

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *ROWCAST,
            *arguments,
            cwd=self.directory,
            env=self.environment | await asyncio.to_thread(self._lent, arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    @asynccontextmanager
    async def serving(self, *arguments: str, ready: bool = True) -> AsyncIterator[Serving]:
        """`rowcast serve` on a free port, listening and, unless told otherwise, ready."""
        async with self.running("serve", "--port", str(free_port()), *arguments) as process:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                line = (await process.stdout.readline()).decode()
            if "serving on " not in line:
                _, err = await process.communicate()
                raise AssertionError(f"rowcast serve did not start: {line}{err.decode()}")
            serving = Serving(process, line.split("serving on ")[1].split()[0])
            if ready:
                await http.until(serving.address, "/readyz", ready=True)
            yield serving


@dataclass(frozen=True)
class Serving:
    """A served bridge in a process of its own."""

    process: asyncio.subprocess.Process
    address: str

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self.process.communicate()
        return self.process.returncode or 0
