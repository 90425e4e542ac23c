"""Subscribers that take nothing, and what a bridge of its own process says that they cost."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support import http

if TYPE_CHECKING:
    from tests.support.commands import Serving


def narrow(address: str) -> socket.socket:
    """A connection whose own end takes little."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    url = urlsplit(address)
    line.connect((url.hostname, url.port))
    return line


def silent(address: str, number: int, topic: str) -> socket.socket:
    """One who asks for a topic and reads nothing of it; every other one for a stream."""
    line = narrow(address)
    host = f"Host: {urlsplit(address).netloc}"
    if number % 2:
        line.sendall(f"GET /sse?topic={topic} HTTP/1.1\r\n{host}\r\n\r\n".encode())
        return line
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    line.sendall(f"GET /ws HTTP/1.1\r\n{host}\r\n{upgrade}\r\n{key}\r\n\r\n".encode())
    while not line.recv(1):
        pass
    line.sendall(_masked(f'{{"type":"subscribe","topic":"{topic}"}}'.encode()))
    return line


def _masked(text: bytes) -> bytes:
    """A text frame of a client, whose mask is of zeros."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


class Measured:
    """What the process of a bridge says of itself."""

    def __init__(self, serving: Serving) -> None:
        self._address = serving.address
        self._status = Path(f"/proc/{serving.process.pid}/status")

    def memory(self) -> int:
        """Resident, in bytes."""
        return int(self._status.read_text().partition("VmRSS:")[2].split()[0]) * 1024

    async def metric(self, name: str) -> float:
        page = (await http.get(self._address, "/metrics")).body.decode()
        return float(next(x for x in page.splitlines() if x.startswith(f"{name} ")).split()[1])

    async def until(self, name: str, value: float) -> None:
        while await self.metric(name) != value:
            await asyncio.sleep(0.05)
