"""docs/tutorial.md, step by step: every command in it, the files it names, and the page."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bridge.demo.ports import free_port
from tests.support import browser
from tests.support.commands import Rowcast
from tests.support.pages import site

if TYPE_CHECKING:
    import asyncio

    import psycopg
    from playwright.async_api import Browser

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
# What prepares a machine, and what goes on elsewhere.
ELSEWHERE = (
    "python3 -m venv",
    "pip install",
    "export DATABASE_URL",
    "createdb",
    "psql tutorial --file",
)


def block(language: str, containing: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (one,) = [text for text in found if containing in text]
    return str(one)


def commands() -> list[list[str]]:
    found = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s+#.*", "", line) for text in found for line in text.splitlines()]
    return [shlex.split(line) for line in lines if not line.startswith(ELSEWHERE)]


async def line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    message: dict[str, Any] = json.loads(await process.stdout.readline())
    return message


async def until(process: asyncio.subprocess.Process, kind: str) -> dict[str, Any]:
    while (message := await line(process))["type"] != kind:
        pass
    return message


@pytest.mark.asyncio(loop_scope="session")
async def test_the_tutorial(
    chromium: Browser, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(block("sql", "CREATE TABLE").encode())
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    pages = {"/page.html": block("html", "rowcast.js").replace("http://127.0.0.1:8765", address)}
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(site(pages))
        config = block("yaml", "orders:").replace("http://localhost:8000", origin)
        reader = Reader(Rowcast(tmp_path, database), admin, stack, config, address)
        for words in commands():
            await reader.does(words)
        assert [message["op"] for message in reader.told] == ["update", "delete"]
        page = await stack.enter_async_context(browser.opened(chromium, f"{origin}/page.html"))
        await browser.until(page, "document.querySelectorAll('#orders tr').length === 3")
        admin.execute("UPDATE orders SET status = 'lost' WHERE id = 3")
        await browser.until(page, "document.querySelector('#orders').innerText.includes('lost')")


class Reader:
    """Somebody who does what the page says; `told` is what `tail` printed of each write."""

    def __init__(
        self,
        rowcast: Rowcast,
        admin: psycopg.Connection,
        stack: AsyncExitStack,
        config: str,
        address: str,
    ) -> None:
        self._rowcast = rowcast
        self._admin = admin
        self._stack = stack
        self._config = config
        self._address = address
        self._tail: asyncio.subprocess.Process | None = None
        self.told: list[dict[str, Any]] = []

    async def does(self, words: list[str]) -> None:
        match words:
            case ["rowcast", "serve"]:
                port = self._address.rpartition(":")[2]
                await self._stack.enter_async_context(self._rowcast.serving("--port", port))
            case ["rowcast", "tail", topic]:
                tail = self._rowcast.running("tail", topic, "--url", self._address)
                self._tail = await self._stack.enter_async_context(tail)
                shown = await until(self._tail, "snapshot")
                assert [entry["key"]["id"] for entry in shown["rows"]] == [1, 2]
            case ["rowcast", *arguments]:
                done = await self._rowcast.run(*arguments)
                assert done.status == 0, done.out + done.err
                if arguments == ["init"]:
                    written = self._rowcast.directory / "config.yaml"
                    assert "  orders:" in written.read_text()
                    written.write_text(self._config)
            case ["psql", "tutorial", "--command", statement]:
                assert self._tail is not None
                self._admin.execute(statement.encode())
                self.told.append(await until(self._tail, "change"))
            case _:
                raise AssertionError(f"what does this do? {words}")
