"""`rowcast types`: what the topics hold, as a TypeScript schema for the client."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.commands import options
from bridge.errors import BridgeError

if TYPE_CHECKING:
    import argparse

    from bridge.config import Config
    from bridge.typescript import Shape

HELP = "write the types of all topics as TypeScript, from the config and the database"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="-",
        help="where to write, replacing what is there (default: print)",
    )
    parser.add_argument(
        "--numbers",
        action="store_true",
        help="call bigint, numeric and float plain numbers, though some values come as strings",
    )


def run(args: argparse.Namespace) -> int:
    from bridge.typescript import declarations

    text = declarations(_shapes(options.load(args)), numbers=args.numbers)
    if args.output == "-":
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BridgeError(f"cannot write {args.output}: {error.strerror}") from None
    print(f"rowcast: wrote {args.output}", file=sys.stderr)
    return 0


def _shapes(config: Config) -> list[Shape]:
    import psycopg

    from bridge import catalog, shapes

    try:
        with psycopg.connect(config.database, autocommit=True, connect_timeout=10) as connection:
            return shapes.read(connection, catalog.resolved(connection, config).values())
    except psycopg.Error as error:
        raise BridgeError(f"cannot read the catalog: {str(error).strip()}") from None
