"""`rowcast check`: config against database, each finding with its remedy."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse

    from bridge.config import Config

HELP = "compare the config with the database; exit 3 if the bridge could not do its job"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    parser.add_argument(
        "--bench",
        action="store_true",
        help="instead, measure for two seconds how fast the database commits, with NOTIFY and"
        " without, and tell which tables to make durable; leaves nothing behind",
    )


def run(args: argparse.Namespace) -> int:
    from bridge.inspection import inspect

    config = options.load(args)
    if args.bench:
        return _bench(config)
    grave = 0
    for finding in inspect(config):
        grave += finding.grave
        print(f"{'problem' if finding.grave else 'advice '}  {finding}")
    if not grave:
        print(f"ok: {len(config.tables)} tables are captured and can be served")
        return 0
    print(f"{grave} found", file=sys.stderr)
    return 3


def _bench(config: Config) -> int:
    from bridge import commits

    for line in commits.said(commits.measure(config)):
        print(textwrap.fill(line, 100) if len(line) > 100 else line)
    return 0
