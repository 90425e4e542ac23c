"""`rowcast demo`: everything at once, on a database of its own, with a page to look at."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge.commands import options

HELP = "start a sample shop on a PostgreSQL of its own, serve it, and print the page's address"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help=argparse.SUPPRESS)
    parser.add_argument(
        "--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=float, default=8.0, help="the shop's transactions per second (default: 8)"
    )
    parser.add_argument("--seed", type=int, help="makes the shop do the same things again")
    options.logging(parser, default="warning")


def run(args: argparse.Namespace) -> int:
    from bridge import migrate
    from bridge.demo import run as demo

    options.start_logging(args)
    with demo.database(_tell) as url:
        _tell("creating the shop: customers, products, orders, order_items")
        demo.open_shop(url)
        config = demo.settings(url, host=args.host, port=args.port)
        migrate.apply(config, progress=_tell)
        asyncio.run(demo.serve(config, rate=args.rate, seed=args.seed, started=_started))
    return 0


def _tell(line: str) -> None:
    print(f"rowcast: {line}", file=sys.stderr, flush=True)


def _started(host: str, port: int) -> None:
    print(f"\n  Open http://{host}:{port}/ in a browser. Ctrl-C ends the demo.\n", flush=True)
