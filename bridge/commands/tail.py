"""`rowcast tail`: follow topics and print what comes, one JSON message a line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from bridge import client

if TYPE_CHECKING:
    import argparse

HELP = "follow topics of a running bridge and print its messages, one JSON line each"

URL = "ws://127.0.0.1:8765/ws"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topics", nargs="+", metavar="TOPIC", help="for example orders or orders/42"
    )
    parser.add_argument("--url", default=URL, help="the bridge's WebSocket (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    asyncio.run(_tail(_endpoint(args.url), args.topics))
    return 0


def _endpoint(url: str) -> str:
    """Accept the address `serve` prints as well as the endpoint itself."""
    url = url.replace("http://", "ws://", 1).replace("https://", "wss://", 1)
    return url if url.rstrip("/").endswith("/ws") else url.rstrip("/") + "/ws"


async def _tail(url: str, topics: list[str]) -> None:
    async for message in client.messages(url, topics):
        print(json.dumps(message, ensure_ascii=False), flush=True)
