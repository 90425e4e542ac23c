"""Real bridges for tests: in this process, on a free port, ready when they are handed out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge import config as configuration
from bridge import migrate
from bridge.demo.ports import free_port
from bridge.pipeline import Bridge
from tests.support import PATIENCE
from tests.support import serving as serving_role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.config import Config
    from bridge.pacer import State


def configure(database: str, tables: str, **top: str) -> Config:
    """A config of these `tables` (YAML, indented by two), listening on a free port."""
    extra = "".join(f"{name}: {value}\n" for name, value in top.items())
    text = f"database: ${{URL}}\n{extra}server: {{port: 0, inspector: true}}\ntables:\n{tables}"
    return configuration.loads(text, file="test.yaml", env={"URL": database})


def staying(config: Config) -> Config:
    """The same on a port of its own, for a bridge that is to come back where it was."""
    return replace(config, server=replace(config.server, port=free_port()))


class Running:
    """A bridge that serves; `url` is its WebSocket, `http` its address."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.address: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    def started(self, host: str, port: int) -> None:
        self.address.set_result((host, port))

    @property
    def http(self) -> str:
        host, port = self.address.result()
        return f"http://{host}:{port}"

    @property
    def url(self) -> str:
        return self.http.replace("http", "ws", 1) + "/ws"


@asynccontextmanager
async def running(config: Config, *, migrated: Config | bool = True) -> AsyncIterator[Running]:
    """Install the triggers, by another config if one is given, serve, and stop at the end."""
    if migrated:
        installed = config if migrated is True else migrated
        await asyncio.to_thread(migrate.apply, installed, progress=lambda _line: None)
    running = Running(Bridge(await asyncio.to_thread(serving_role.lent, config)))
    serving_role.lending(running.bridge)
    serving = asyncio.create_task(running.bridge.run(running.started))
    try:
        ready = asyncio.create_task(running.bridge.health.wait())
        await asyncio.wait({serving, ready}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert ready.done(), running.bridge.health.reasons
        yield running
    finally:
        ready.cancel()
        running.bridge.stop()
        await serving


async def becomes(bridge: Running, state: State) -> None:
    """By what the instance itself says, for there is nothing else to see it by."""
    assert bridge.bridge._durable is not None
    while bridge.bridge._durable.pacing.pacer.state is not state:
        await asyncio.sleep(0.01)
