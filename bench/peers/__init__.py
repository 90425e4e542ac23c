"""What others do for the same job, each in its own process, spoken to in one way.

A peer is a server of WebSockets that sends what is published to all of them. Those here are
installed with `apt install libnginx-mod-nchan` and `npm install --prefix bench/peers`. One of
your own, `./dev bench fanout --peer FILE`, is a JSON file:

    {"name": "Centrifugo",
     "command": ["centrifugo", "--port", "{port}", …],     {port}: one that is free
     "socket": "ws://127.0.0.1:{port}/connection/websocket",
     "say": ["{\\"id\\":1,\\"connect\\":{}}", …],               what a subscriber sends first
     "ready": 2,                                            text messages until it is subscribed
     "publish": "http://127.0.0.1:{port}/api/publish",      POSTed to for each message, with
     "headers": {"X-API-Key": "…"},
     "body": "{\\"channel\\": …, \\"data\\": {message}}"}       {message}: a JSON object of the size

It must be reachable within ten seconds, and send each message to each subscriber as one text
message. `bench/peers/*.json` are examples, which nobody here has the binaries to run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.crowd import crowd
from bench.processes import ROOT, started
from bridge.demo.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from bench.crowd import Crowd
    from bench.processes import Process

HERE = Path(__file__).parent

_NCHAN_MODULES = (
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/share/nginx/modules/ngx_nchan_module.so",
)


@dataclass(frozen=True)
class Peer:
    """How to start it and speak to it; `missing` says why it cannot be started here, and what
    would help. In `command`, `socket` and `publish`, `{port}` is a free port."""

    name: str
    command: tuple[str, ...]
    socket: str = "ws://127.0.0.1:{port}/sub"
    publish: str = "http://127.0.0.1:{port}/pub"
    say: tuple[str, ...] = ()
    ready: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "{message}"
    missing: str = ""


def known(brought: tuple[Path, ...] = ()) -> list[Peer]:
    """All peers of fan-out: our own choice, and those that the user brings."""
    return [_nchan(), _node(), _broadcast(), _bare(), *map(_brought, brought)]


class Running:
    """A peer that serves."""

    def __init__(self, peer: Peer, process: Process, port: int) -> None:
        self._peer = peer
        self.port = port
        self.process = process
        parts = urlsplit(peer.publish.replace("{port}", str(port)))
        self._path = parts.path or "/"
        self._line = socket.create_connection((parts.hostname, parts.port))
        self._answers = self._line.makefile("rb")

    def subscribers(self, count: int) -> AbstractContextManager[Crowd]:
        url = self._peer.socket.replace("{port}", str(self.port))
        return crowd(url, count, *self._peer.say, ready=self._peer.ready)

    def send(self, messages: list[str]) -> None:
        """All requests in one write, so that the server has them together."""
        self._line.sendall(b"".join(self._request(message) for message in messages))
        for _ in messages:
            self._heed()

    def _heed(self) -> None:
        status = int(self._answers.readline().split()[1])
        length = 0
        while (line := self._answers.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        said = self._answers.read(length)
        if status >= 400:
            raise ConnectionError(f"{self._peer.name}: {status} {said!r}")

    def close(self) -> None:
        self._answers.close()
        self._line.close()

    def _request(self, message: str) -> bytes:
        body = self._peer.body.replace("{message}", message).encode()
        headers = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **self._peer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self._path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@contextmanager
def running(peer: Peer, environment: dict[str, str] | None = None) -> Iterator[Running]:
    with ExitStack() as stack:
        port = free_port()
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        command = [
            part.replace("{port}", str(port)).replace("{directory}", directory)
            for part in peer.command
        ]
        if peer.command[0].endswith("nginx"):
            Path(directory, "nginx.conf").write_text(_NCHAN.replace("{port}", str(port)))
        process = stack.enter_context(started(command, {"PORT": str(port), **(environment or {})}))
        until_open(port)
        served = Running(peer, process, port)
        stack.callback(served.close)
        yield served


@contextmanager
def seed(url: str, table: str) -> Iterator[Running]:
    """The seed's listener and server on a database that has its trigger."""
    peer = Peer("seed", ("node", str(HERE / "seed.js")))
    with running(peer, {"DATABASE_URL": url, "TABLE": table}) as served:
        yield served


def _nchan() -> Peer:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    module = next((path for path in _NCHAN_MODULES if Path(path).exists()), None)
    why = "" if nginx and module else "apt install nginx libnginx-mod-nchan"
    before = f"load_module {module}; daemon off;" + (" user root;" if os.getuid() == 0 else "")
    command = (nginx or "nginx", "-p", "{directory}", "-c", "{directory}/nginx.conf", "-g", before)
    return Peer("nchan", command, missing=why)


def _node() -> Peer:
    return Peer("Node ws", ("node", str(HERE / "ws.js")), missing=without_node("ws"))


def _broadcast() -> Peer:
    return Peer("websockets broadcast()", (sys.executable, "-m", "bench.peers.broadcast"))


def _bare() -> Peer:
    return Peer("bare send()", (sys.executable, "-m", "bench.peers.bare"))


def without_node(*modules: str) -> str:
    """What to do to have Node with these modules; empty if they are here."""
    if shutil.which("node") is None:
        return "install Node 18 or newer"
    absent = [name for name in modules if not (HERE / "node_modules" / name).exists()]
    return f"npm install --prefix {HERE.relative_to(ROOT)}" if absent else ""


def _brought(file: Path) -> Peer:
    read = json.loads(file.read_text("utf-8"))
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in read.items()
    }
    missing = "" if shutil.which(given["command"][0]) else f"{given['command'][0]} is not on PATH"
    return Peer(**{"missing": missing, **given})


def until_open(port: int, patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


# One worker, as all others here are one process. Nothing is kept, as nobody else keeps anything.
_NCHAN = """
worker_processes 1;
pid nginx.pid;
error_log stderr;
worker_rlimit_nofile 32768;
events { worker_connections 16384; }
http {
    access_log off;
    nchan_shared_memory_size 256M;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000;
        location = /sub {
            nchan_subscriber websocket;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }
        location = /pub {
            nchan_publisher;
            nchan_channel_id bench;
            nchan_message_buffer_length 1;
        }
    }
}
"""
