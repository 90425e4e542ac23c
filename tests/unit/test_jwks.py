"""Published keys: fetched rarely, used when they cannot be had, and never from elsewhere."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from bridge.auth import jwks
from bridge.auth.jwks import FRESH, PAUSE, STALE, KeySet
from bridge.errors import ProtocolError, TokenError
from tests.support.tokens import jwk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Publisher:
    """Who issues tokens: its keys, how often they were asked for, and whether it answers."""

    def __init__(self, *kids: str) -> None:
        self.kids = list(kids)
        self.fetches = 0
        self.up = True
        self.now = 1000.0
        self.set = KeySet(self.fetch, (), lambda: self.now)

    def fetch(self) -> bytes:
        self.fetches += 1
        if not self.up:
            raise OSError("down")
        return json.dumps({"keys": [jwk("ec", kid=kid) for kid in self.kids]}).encode()

    async def code(self, kid: str | None) -> str | None:
        """None if there is such a key, else the error's code."""
        try:
            await self.set.find(kid)
        except ProtocolError as error:
            return error.code
        return None


async def test_keys_are_fetched_once_and_kept() -> None:
    issuer = Publisher("a", "b")
    assert [await issuer.code(kid) for kid in "abab"] == [None] * 4
    assert issuer.fetches == 1
    issuer.now += FRESH
    assert await issuer.code("a") is None
    assert issuer.fetches == 2


async def test_names_that_are_made_up_fetch_nothing() -> None:
    issuer = Publisher("a")
    codes = set()
    for n in range(10_000):
        issuer.now += PAUSE / 10_000
        codes.add(await issuer.code(f"../{n}"))
        if n % 1000 == 0:
            assert await issuer.code("a") is None
    assert issuer.fetches <= 2
    assert codes == {"unauthenticated", "unavailable"}


async def test_a_new_key_is_found() -> None:
    issuer = Publisher("a")
    assert await issuer.code("a") is None
    issuer.kids.append("new")
    issuer.now += 1
    assert await issuer.code("new") == "unavailable", "it was looked up a moment ago"
    issuer.now += PAUSE
    assert await issuer.code("new") is None
    issuer.now += PAUSE
    assert await issuer.code("never") == "unauthenticated"


async def test_known_keys_are_used_while_there_are_no_newer_ones() -> None:
    issuer = Publisher("a")
    assert await issuer.code("a") is None
    issuer.up = False
    issuer.now += FRESH
    assert await issuer.code("a") is None
    assert await issuer.code("b") == "unavailable"
    issuer.now += STALE - FRESH
    assert await issuer.code("a") == "unavailable"
    issuer.now += PAUSE
    issuer.up = True
    assert await issuer.code("a") is None


async def test_a_key_that_was_withdrawn_is_gone() -> None:
    issuer = Publisher("a", "b")
    assert await issuer.code("a") is None
    issuer.kids.remove("a")
    issuer.now += FRESH
    assert await issuer.code("a") == "unauthenticated"


async def test_those_who_come_during_a_fetch_wait_for_it() -> None:
    issuer = Publisher("a")
    fetch, answered = issuer.fetch, threading.Event()

    def slow() -> bytes:
        answered.wait(10)
        return fetch()

    issuer.set = KeySet(slow, (), lambda: issuer.now)
    waiting = [asyncio.create_task(issuer.code("a")) for _ in range(50)]
    await asyncio.sleep(0)
    answered.set()
    assert await asyncio.gather(*waiting) == [None] * 50
    assert issuer.fetches == 1


# Over a real socket.


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def body(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(data)

    return answer


def test_what_is_published_is_fetched() -> None:
    with serving(body(b"x" * jwks.SIZE)) as url:
        assert jwks.fetch(url) == b"x" * jwks.SIZE


def test_too_much_is_refused() -> None:
    with serving(body(b"x" * (jwks.SIZE + 1))) as url, pytest.raises(ValueError, match="256 KiB"):
        jwks.fetch(url)


def test_no_other_address_is_asked() -> None:
    asked = []

    def elsewhere(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.end_headers()

    with serving(elsewhere) as url, pytest.raises(OSError, match="302"):
        jwks.fetch(url)
    assert asked == ["/keys"]


def test_who_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "PATIENCE", 0.2)
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not over.is_set():
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.05)

    with serving(drip) as url:
        with pytest.raises(TimeoutError, match="took over"):
            jwks.fetch(url)
        over.set()


async def test_nobody_is_there() -> None:
    with serving(body(b"")) as url:
        pass
    keys = KeySet(lambda: jwks.fetch(url), ())
    with pytest.raises(ProtocolError, match="try again") as caught:
        await keys.find("a")
    assert not isinstance(caught.value, TokenError)
