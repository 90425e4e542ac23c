"""A real browser, headless, spoken to over its DevTools protocol: no driver to install.

A page is asked by JavaScript expressions; waiting happens inside the page. Every
error the page raises or logs is kept, for a test to find none. One process, which is slow
to start, serves all tests; each gets a profile of its own in it.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import subprocess
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from itertools import count
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)

PATIENCE = 30.0
"""Seconds after which what has not happened will not."""


def find() -> str | None:
    """Path of a Chromium, $CHROME first."""
    found = filter(None, map(shutil.which, (os.environ.get("CHROME", ""), *_NAMES)))
    return next(found, None)


class Page:
    """One tab. `errors` holds what was thrown in it, and what its console calls an error."""

    def __init__(self, devtools: ClientConnection, address: str = "", profile: str = "") -> None:
        self._devtools = devtools
        self._address = address
        self._profile = profile
        self._ids = count(1)
        self.errors: list[str] = []
        self._loaded = False

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._ids)
        await self._devtools.send(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        async for text in self._devtools:
            message = json.loads(text)
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])
            self._note(message)
        raise ConnectionError("the browser closed the page")

    async def open(self, url: str) -> None:
        """Go there; returns when the page has loaded, so that questions are asked of it."""
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        self._loaded = False
        await self.call("Page.navigate", url=url)
        while not self._loaded:
            self._note(json.loads(await self._devtools.recv()))

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise it is, by way of JSON."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until the expression is truthy, and return its value."""
        looking = (
            "new Promise((resolve) => { const look = () => {"
            f" const found = ({expression}); found ? resolve(found) : setTimeout(look, 20);"
            " }; look(); })"
        )
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.evaluate(looking)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never came true: {expression}\n\n{shown}") from None

    async def offline(self, offline: bool) -> None:
        """Whether the page has a network; connections it has already may outlive that."""
        await self.call("Network.enable")
        await self.call(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncIterator[Page]:
        """Another tab of the same browser."""
        async with _tab(self._address, self._profile, url) as page:
            yield page

    def _note(self, event: dict[str, Any]) -> None:
        if event["method"] == "Page.loadEventFired":
            self._loaded = True
        elif event["method"] == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.append(json.dumps(event["params"]["entry"]))


@asynccontextmanager
async def opened(browser: str, url: str) -> AsyncIterator[Page]:
    """A browser that knows nothing, with one tab at `url`."""
    address = await asyncio.to_thread(_started, browser)
    async with connect(address, max_size=None, proxy=None) as devtools:
        made = await Page(devtools).call("Target.createBrowserContext")
        profile = made["browserContextId"]
        try:
            async with _tab(address, profile, url) as page:
                yield page
        finally:
            await Page(devtools).call("Target.disposeBrowserContext", browserContextId=profile)


@asynccontextmanager
async def _tab(address: str, profile: str, url: str) -> AsyncIterator[Page]:
    """A new tab of the browser whose DevTools are at `address`."""
    about = {"url": "about:blank", "browserContextId": profile}
    async with connect(address, max_size=None, proxy=None) as devtools:
        target = await Page(devtools).call("Target.createTarget", **about)
    base = address.partition("/devtools/")[0]
    tab = f"{base}/devtools/page/{target['targetId']}"
    async with connect(tab, max_size=None, proxy=None) as devtools:
        page = Page(devtools, address, profile)
        await page.open(url)
        yield page


@cache
def _started(browser: str) -> str:
    """Where its DevTools are. It ends with this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    # The browser may write to it until the very end.
    profile = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    process = stack.enter_context(
        subprocess.Popen(
            [browser, *_FLAGS, *sandbox, f"--user-data-dir={profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    stack.callback(process.kill)
    return _address(process)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("DevTools listening on "):
            # Whatever it says later must not fill the pipe.
            Thread(target=process.stderr.read, daemon=True).start()
            return line.split()[-1]
    raise ConnectionError("the browser ended before it listened")
