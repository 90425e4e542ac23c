"""The command line: one subcommand per module of `bridge.commands`, loaded when used.

Exit status: 0 done; 1 failed while running; 2 wrong usage or config; 3 `check` or `status`
found something.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.errors import BridgeError, CatalogError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("demo", "init", "migrate", "revision", "check", "types", "serve", "status", "tail")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is returned, and problems are told on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        return int(import_module(f"bridge.commands.{arguments.command}").run(arguments))
    except (ConfigError, CatalogError) as error:
        print(error, file=sys.stderr)
        return 2
    except BridgeError as error:
        print(f"rowcast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rowcast",
        description="Debounced change notifications from existing PostgreSQL tables to browsers.",
        epilog="Exit status: 0 done; 1 failed while running; 2 wrong usage or config; "
        "3 check or status found something.",
    )
    parser.add_argument("--version", action="version", version=f"rowcast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"bridge.commands.{name}")
        module.arguments(commands.add_parser(name, help=module.HELP, description=module.HELP))
    return parser
