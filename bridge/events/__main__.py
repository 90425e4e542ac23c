"""`python -m bridge.events DIRECTORY`: the event types declared there, as a page of Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

from bridge.errors import BridgeError
from bridge.events.types import EventTypes


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write("usage: python -m bridge.events DIRECTORY (with a NAME.json per type)\n")
        return 2
    try:
        sys.stdout.write(EventTypes.load(Path(arguments[0])).page())
    except BridgeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
