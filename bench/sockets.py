"""The least that is a WebSocket client: it costs so little that what it measures is the other side.

`Frames` is pure; `Socket` blocks; `Reader` reads on in a thread; the many are in `crowd`.
"""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def upgrade(url: str) -> bytes:
    """The request that opens the connection."""
    parts = urlsplit(url)
    return _UPGRADE.format(path=parts.path or "/", host=parts.netloc).encode()


def frame(body: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame; the mask of zeros is a mask, and costs nothing."""
    length = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2)
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + body


class Frames:
    """Bytes in, frames out: (opcode, body). Raises ConnectionError if it was not let in."""

    def __init__(self) -> None:
        self._buffer = b""
        self._open = False

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        if not self._open and not self._opened():
            return []
        found, at, buffer = [], 0, self._buffer
        while (end := self._end(buffer, at)) is not None:
            found.append((buffer[at] & 0x0F, buffer[end[0] : end[1]]))
            at = end[1]
        self._buffer = buffer[at:]
        return found

    @property
    def open(self) -> bool:
        return self._open

    def _opened(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.decode("latin-1"))
        self._open, self._buffer = True, rest
        return True

    @staticmethod
    def _end(buffer: bytes, at: int) -> tuple[int, int] | None:
        """Where the body of the frame at `at` begins and ends, if all of it is here."""
        room = len(buffer) - at
        if room < 2:
            return None
        length, begin = buffer[at + 1], at + 2
        if length == 126:
            length, begin = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
        elif length == 127:
            length, begin = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
        return (begin, begin + length) if len(buffer) >= begin + length else None


class Socket:
    """One subscriber that waits for each message."""

    def __init__(self, url: str, *said: str, patience: float = 30.0) -> None:
        parts = urlsplit(url)
        self._line = socket.create_connection((parts.hostname, parts.port), patience)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line.sendall(upgrade(url))
        self._frames = Frames()
        self._waiting: list[bytes] = []
        self._url, self._farewell = url, b""
        while not self._frames.open:
            self._read()
        for text in said:
            self._line.sendall(frame(text.encode()))

    def receive(self) -> bytes:
        """The next text message."""
        while not self._waiting:
            self._read()
        return self._waiting.pop(0)

    def until(self, part: bytes) -> bytes:
        """The next message with this in it."""
        while part not in (message := self.receive()):
            pass
        return message

    def wait_for_ever(self) -> None:
        self._line.settimeout(None)

    def close(self) -> None:
        self._line.close()

    def _read(self) -> None:
        if not (data := self._line.recv(65536)):
            raise ConnectionError(f"{self._url}: closed the connection: {self._farewell!r}")
        for opcode, body in self._frames.feed(data):
            if opcode == TEXT:
                self._waiting.append(body)
            elif opcode == CLOSE:
                self._farewell = body
            elif opcode == PING:
                self._line.sendall(frame(body, PONG))


class Reader(threading.Thread):
    """A subscriber that reads on by itself; `messages` counts what came."""

    def __init__(self, socket: Socket) -> None:
        super().__init__(daemon=True)
        self._socket = socket
        socket.wait_for_ever()
        self._mark = b""
        self._seen = threading.Event()
        self._failure: OSError | None = None
        self.messages = 0
        self.start()

    def run(self) -> None:
        while True:
            try:
                message = self._socket.receive()
            except OSError as error:
                self._failure = error
                self._seen.set()
                return
            self.messages += 1
            if self._mark and self._mark in message:
                self._seen.set()

    def expect(self, mark: bytes) -> None:
        """Call it before what is awaited is sent."""
        self._seen.clear()
        self._mark = mark

    def received(self, patience: float = 60.0) -> None:
        if not self._seen.wait(patience):
            raise TimeoutError(f"no message with {self._mark!r} came")
        if self._failure is not None:
            raise self._failure
