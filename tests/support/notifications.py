"""A proxy before PostgreSQL that loses, repeats, holds back and jumbles notifications alone.

What the server sends is taken apart into its messages. A NotificationResponse may stand
between any two of them, so leaving one out, or passing it on later, is right by the protocol
and wrong in what it tells. Probes, by which a bridge knows that it hears anything, are let
through unless it says otherwise.

lose     notifications are gone, on every connection
deafen   the same for ever, probes too, on the connections that are open now
jumble   each comes five times, each time within so many seconds, in any order
deliver  from now on all is as it should be; what was held back comes now
"""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from bridge.session import PROBE
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    Treatment: TypeAlias = Callable[[bytes], Sequence[float]]
    """A message → after how many seconds each copy of it is passed on; without any it is lost."""

_CHUNK = 65536
_HEAD = 5
_COPIES = 5
_PLAIN = "sslmode=disable&gssencmode=disable"


class Messages:
    """Bytes from a server → (whether it is a notification, the bytes of whole messages)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Messages that are no notifications may come several together."""
        data, begin, end = self._rest + data, 0, 0
        while len(data) - end >= _HEAD:
            kind, length = struct.unpack_from("!cI", data, end)
            if len(data) - end <= length:
                break
            if kind == b"A":
                if end > begin:
                    yield False, data[begin:end]
                yield True, data[end : end + 1 + length]
                begin = end + 1 + length
            end += 1 + length
        if end > begin:
            yield False, data[begin:end]
        self._rest = data[end:]


class Line:
    """One connection's way back to the client, and what is held back of it."""

    def __init__(self, writer: asyncio.StreamWriter, thawed: asyncio.Event) -> None:
        self._writer = writer
        self._thawed = thawed
        self._late: dict[asyncio.TimerHandle, bytes] = {}
        self.treatment: Treatment | None = None
        self.over = False
        """Nothing can be passed on any more."""

    def later(self, delay: float, message: bytes) -> None:
        timer = asyncio.get_running_loop().call_later(delay, lambda: self._arrive(timer))
        self._late[timer] = message

    def hurry(self, random: Random) -> None:
        """What is held back comes now, in any order."""
        for timer in random.sample(list(self._late), len(self._late)):
            timer.cancel()
            self._arrive(timer)

    def _arrive(self, timer: asyncio.TimerHandle) -> None:
        message = self._late.pop(timer)
        if self._thawed.is_set() and not self._writer.is_closing() and not self.over:
            self._writer.write(message)


class Notifications(Proxy):
    """`hit` counts the notifications that were not passed on as they came."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._lines: dict[Line, None] = {}
        self._treatment: Treatment = _at_once
        self.hit = 0

    def url_for(self, url: str) -> str:
        """The same URL, through the proxy, which could read nothing of what is encrypted."""
        parts = urlsplit(super().url_for(url))
        query = "&".join(filter(None, [parts.query, _PLAIN]))
        return urlunsplit(parts._replace(query=query))

    def lose(self) -> None:
        self._treatment = partial(_but_probes, _never)

    def deafen(self) -> None:
        for line in self._lines:
            line.treatment = _never

    def jumble(self, random: Random, longest: float) -> None:
        def treatment(_message: bytes) -> Sequence[float]:
            return [random.uniform(0.001, longest) for _ in range(_COPIES)]

        self._treatment = partial(_but_probes, treatment)

    def deliver(self, random: Random) -> None:
        self._treatment = _at_once
        for line in self._lines:
            line.hurry(random)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, thawed: asyncio.Event
    ) -> None:
        line, messages = Line(writer, thawed), Messages()
        self._lines[line] = None
        try:
            while data := await reader.read(_CHUNK):
                await thawed.wait()
                now = [
                    passed
                    for notification, message in messages.feed(data)
                    for passed in (self._treat(line, message) if notification else (message,))
                ]
                writer.write(b"".join(now))
                await writer.drain()
                await asyncio.sleep(self.slow)
            await thawed.wait()
            line.over = True
            writer.write_eof()
        finally:
            del self._lines[line]

    def _treat(self, line: Line, message: bytes) -> list[bytes]:
        """What of it is passed on now."""
        delays = (line.treatment or self._treatment)(message)
        self.hit += delays is not _AT_ONCE
        for delay in filter(None, delays):
            line.later(delay, message)
        return [message for delay in delays if not delay]


_AT_ONCE = (0.0,)


def _at_once(_message: bytes) -> Sequence[float]:
    return _AT_ONCE


def _never(_message: bytes) -> Sequence[float]:
    return ()


def _but_probes(treatment: Treatment, message: bytes) -> Sequence[float]:
    return _AT_ONCE if b"\0" + PROBE in message else treatment(message)
