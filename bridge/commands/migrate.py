"""`rowcast migrate`: brings the database to what the config says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse

    from bridge.triggers import Step

HELP = "create, replace and drop triggers until the database has what the config says"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    options.versions(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--plan", action="store_true", help="show what would be done, and do nothing")
    ways.add_argument("--sql", action="store_true", help="print what would be done, for psql")
    ways.add_argument("--remove", action="store_true", help="take everything out again")


def run(args: argparse.Namespace) -> int:
    from bridge import migrate

    config = options.load(args)
    if args.plan:
        steps = migrate.plan(config, args.versions)
        print("\n".join(map(_line, steps)) or "nothing to do")
    elif args.sql:
        sys.stdout.write(migrate.script(config, args.versions))
    elif args.remove:
        migrate.remove(config, progress=_tell, versions=args.versions)
    else:
        migrate.apply(config, progress=_tell, versions=args.versions)
    return 0


def _line(step: Step) -> str:
    lock = f" [{step.lock} on the table]" if step.lock else ""
    return f"{step.table}: {step.summary} ({step.finding}){lock}"


def _tell(line: str) -> None:
    print(line, flush=True)
