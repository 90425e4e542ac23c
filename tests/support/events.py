"""Server-Sent Events as a browser reads them: the parsing rules of the HTML standard, 9.2.6.

Written from the standard and not from the bridge, so that the two can disagree.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_LIMIT = 2**24


class Event(NamedTuple):
    type: str
    data: str
    id: str

    def json(self) -> Any:
        return json.loads(self.data)


class Parser:
    """Lines in, events out; `retry` is milliseconds, `comments` what was after a colon."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments: list[str] = []
        self._type = ""
        self._data: list[str] = []

    def line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            self._field(name, value.removeprefix(" "), line)
            return None
        kind, data = self._type or "message", self._data
        self._type, self._data = "", []
        return Event(kind, "\n".join(data), self.last_id) if data else None

    def _field(self, name: str, value: str, line: str) -> None:
        if line.startswith(":"):
            self.comments.append(line[1:])
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry = int(value)


def parse(stream: bytes) -> list[Event]:
    """All events of a stream that has ended; what no blank line ends is not one."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    parser = Parser()
    *lines, _unfinished = re.split("\r\n|\r|\n", text)
    return [event for line in lines if (event := parser.line(line)) is not None]


class Stream:
    """An open stream: `status` and `headers` of its answer, and events one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.parser = Parser()
        self.status = 0
        self.headers: dict[str, str] = {}
        self._joining: asyncio.Task[None] | None = None

    async def open(self) -> None:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in rest)}
        if self.headers.get("transfer-encoding") == "chunked":
            chunked, self.reader = self.reader, asyncio.StreamReader(limit=_LIMIT)
            self._joining = asyncio.create_task(_join(chunked, self.reader))

    def close(self) -> None:
        self.writer.close()
        if self._joining is not None:
            self._joining.cancel()

    async def next(self) -> Event:
        """The next event; EOFError if the stream ends before it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.reader.readline()
                if not line:
                    raise EOFError(self.parser.comments)
                if (event := self.parser.line(line.decode().rstrip("\n"))) is not None:
                    return event

    async def until(self, kind: str) -> Event:
        while (event := await self.next()).type != kind:
            pass
        return event


async def _join(chunked: asyncio.StreamReader, joined: asyncio.StreamReader) -> None:
    """What proxies make of a stream, RFC 9112 7.1, as it was before; up to its end or a break."""
    with suppress(OSError, ValueError, asyncio.IncompleteReadError):
        while size := int(await chunked.readline(), 16):
            joined.feed_data(await chunked.readexactly(size))
            await chunked.readexactly(2)
    joined.feed_eof()


@asynccontextmanager
async def streaming(
    address: str,
    *topics: str,
    headers: dict[str, str] | None = None,
    protocol: str = "HTTP/1.1",
    **more: str,
) -> AsyncIterator[Stream]:
    """GET /sse at `http://host:port`; the answer's head has been read. `more` is of the query."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=_LIMIT)
    query = urlencode([*(("topic", topic) for topic in topics), *more.items()])
    lines = [f"GET /sse?{query} {protocol}", f"Host: {url.netloc}", "Accept: text/event-stream"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    stream = Stream(reader, writer)
    try:
        await stream.open()
        yield stream
    finally:
        stream.close()
