"""`rowcast tail`: follow topics and print what comes, one JSON message a line."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "follow topics of a running bridge and print its messages, one JSON line each"

URL = "http://127.0.0.1:8765"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topics", nargs="+", metavar="TOPIC", help="for example orders or orders/42"
    )
    parser.add_argument("--url", default=URL, help="the bridge's address (default: %(default)s)")
    parser.add_argument(
        "--since",
        metavar="CURSOR",
        help="resume after a message that had this cursor; of a log also start",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("ROWCAST_TOKEN"),
        help="a token, where the bridge asks for one (default: $ROWCAST_TOKEN, which other users of"
        " this machine do not see)",
    )


def run(args: argparse.Namespace) -> int:
    asyncio.run(_tail(args.url, args.topics, args.since, args.token))
    return 0


async def _tail(url: str, topics: list[str], since: str | None, token: str | None) -> None:
    from bridge.client import Client, Lost

    async with Client(url, token) as client:
        async for line in client.lines(*topics, since=since):
            if isinstance(line, Lost):
                _notice(f"{url}: {line.reason}; trying again in {line.delay:.1f} s")
            else:
                print(line, flush=True)


def _notice(text: str) -> None:
    print(f"rowcast: {text}", file=sys.stderr, flush=True)
