"""Plain HTTP/1.1 GETs, without a library between the test and the bytes."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support import PATIENCE


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def get(address: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request on a connection of its own; `address` is `http://host:port`."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {url.netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        async with asyncio.timeout(PATIENCE):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *rest = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in rest)
    return Answer(int(first.split()[1]), {n.lower(): v for n, _, v in pairs}, body)


async def until(address: str, path: str, **expected: object) -> Answer:
    """Ask until the JSON answer has these values: waiting for a state by looking at it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await get(address, path, Connection="close")
            if all(answer.json().get(name) == value for name, value in expected.items()):
                return answer
            await asyncio.sleep(0.02)
