"""`rowcast migrate`: brings the database to what the config says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from bridge.triggers import Step

SERVING = "rowcast_serve"

HELP = "create, replace and drop triggers until the database has what the config says"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    options.versions(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--plan", action="store_true", help="show what would be done, and do nothing")
    ways.add_argument("--sql", action="store_true", help="print what would be done, for psql")
    ways.add_argument(
        "--roles",
        metavar="ROLE",
        nargs="?",
        const=SERVING,
        help="print what a role needs to serve, for psql (default: %(const)s)",
    )
    ways.add_argument(
        "--grant",
        metavar="ROLE",
        nargs="?",
        const=SERVING,
        help="migrate, then grant a role what --roles prints (default: %(const)s)",
    )
    ways.add_argument("--remove", action="store_true", help="take everything out again")


def run(args: argparse.Namespace) -> int:
    from bridge import migrate

    config = options.load(args)
    if args.plan:
        steps = migrate.plan(config, args.versions)
        lines = [line for step in steps for line in _lines(step)]
        print("\n".join([*lines, *migrate.left(config)] or ["nothing to do"]))
    elif args.sql:
        sys.stdout.write(migrate.script(config, args.versions))
    elif args.roles:
        sys.stdout.write(migrate.grants(config, args.roles))
    elif args.remove:
        migrate.remove(config, progress=_tell, versions=args.versions)
    else:
        migrate.apply(config, progress=_tell, versions=args.versions)
        if args.grant:
            migrate.grant(config, args.grant, progress=_tell)
    return 0


_WAITS = {
    "SHARE ROW EXCLUSIVE": "writers wait until it is done, readers do not",
    "ACCESS EXCLUSIVE": "readers and writers wait until it is done",
}


def _lines(step: Step) -> Iterator[str]:
    """For whoever runs the database: what, why, and who waits for it."""
    yield f"{step.table}: {step.summary}"
    yield f"    now    {step.finding}"
    if step.lock:
        yield f"    lock   {step.lock} on {step.relation}: {_WAITS[step.lock]}"
    elif step.statements:
        yield "    lock   none on any table: nobody waits"


def _tell(line: str) -> None:
    print(line, flush=True)
