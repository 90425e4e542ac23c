"""`rowcast serve`: the bridge, until it is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse

HELP = "serve changes over WebSocket until SIGTERM or SIGINT"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    options.logging(parser)


def run(args: argparse.Namespace) -> int:
    from bridge.pipeline import Bridge
    from bridge.process import until_signalled

    config = options.load(args)
    options.start_logging(args)
    asyncio.run(until_signalled(Bridge(config), _announce))
    return 0


def _announce(host: str, port: int) -> None:
    address = f"[{host}]" if ":" in host else host
    print(f"rowcast: serving on http://{address}:{port}  (WebSocket at /ws)", flush=True)
