"""`rowcast revision`: what `migrate` would do to the triggers, as a file to be reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse

HELP = "write what migrate would do as an Alembic revision, to be reviewed and then run"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    options.versions(parser)
    parser.add_argument("-m", "--message", required=True, metavar="TEXT", help="what it is about")


def run(args: argparse.Namespace) -> int:
    from bridge import revisions

    written = revisions.write(options.load(args), args.message, args.versions)
    print(f"wrote {written}" if written else "nothing to do: no revision written")
    return 0
