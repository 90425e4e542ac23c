"""`rowcast serve` with `server.workers`: one port, several instances, and who minds them."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.commands import options
from bridge.errors import BridgeError, CatalogError, ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bridge.config import Config, ServerConfig
    from bridge.pipeline import Bridge
    from bridge.supervisor import Lines


def serve(
    args: argparse.Namespace,
    server: ServerConfig,
    load: Callable[[], Config],
    make: Callable[[Config], Bridge],
    announce: Callable[[str, int], None],
) -> int:
    """Until all workers have ended; returns the exit status. Raises BridgeError."""
    from bridge.supervisor import Supervisor

    shared = tempfile.TemporaryDirectory(prefix="rowcast-")
    with _reserved(server.host, server.port) as place, shared as directory:
        host, args.port = place.getsockname()[:2]  # every worker's, also where 0 was asked for
        current = _Current(load)
        supervisor = Supervisor(
            server.workers,
            partial(_work, args, current, make, Path(directory)),
            partial(announce, host, args.port),
            current.renew,
        )
        return supervisor.run()


def _reserved(host: str, port: int) -> socket.socket:
    """The port, bound and not listened on: that is the workers' part, who share it."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise BridgeError("server.workers: this system cannot share a port; leave it at 1")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        place = socket.socket(found[0][0])
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind(found[0][4])
    except OSError as error:
        raise BridgeError(f"cannot listen on {host}:{port}: {error}") from error
    return place


class _Current:
    """The config that a worker starts with: the last one that workers can have taken."""

    def __init__(self, load: Callable[[], Config]) -> None:
        self.load = load
        self.config = load()  # again, since the port is known now

    def renew(self) -> None:
        """SIGHUP; each worker says by itself what is wrong with the new one."""
        from bridge.reload import differences

        with suppress(BridgeError, OSError):
            new = self.load()
            if not list(differences(self.config, new)):
                self.config = new


def _work(
    args: argparse.Namespace,
    current: _Current,
    make: Callable[[Config], Bridge],
    directory: Path,
    number: int,
    lines: Lines,
) -> int:
    from bridge.gateways.siblings import Siblings
    from bridge.process import until_signalled

    options.start_logging(args, worker=number)
    served = make(current.config)
    served.gateway.siblings = Siblings(directory, number, served.metrics.text)

    def started(_host: str, _port: int) -> None:
        lines.started()

    try:
        asyncio.run(until_signalled(served, started, current.load, lines.life))
    except (ConfigError, CatalogError) as error:
        print(error, file=sys.stderr)
        return 2
    except BridgeError as error:
        print(f"rowcast: {error}", file=sys.stderr)
        return 1
    return 0
