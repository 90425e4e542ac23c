"""`rowcast check`: config against database, each finding with its remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse

HELP = "compare the config with the database; exit 3 if the bridge could not do its job"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)


def run(args: argparse.Namespace) -> int:
    from bridge.inspection import inspect

    config = options.load(args)
    grave = 0
    for finding in inspect(config):
        grave += finding.grave
        print(f"{'problem' if finding.grave else 'advice '}  {finding}")
    if not grave:
        print(f"ok: {len(config.tables)} tables are captured and can be served")
        return 0
    print(f"{grave} found", file=sys.stderr)
    return 3
