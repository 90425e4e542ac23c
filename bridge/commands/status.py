"""`rowcast status`: all instances at a glance, as the database knows them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from bridge.commands import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from bridge.rollcall import Found, Roll
    from bridge.status import Status

HELP = "show all instances, asked through the database; exit 3 unless all are ready"

TITLES = (
    "INSTANCE",
    "VERSION",
    "HOST",
    "PID",
    "ADDRESS",
    "SINCE",
    "READY",
    "SUBSCRIBERS",
    "TOPICS",
    "LAG",
    "LEADS",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    options.config(parser)
    parser.add_argument(
        "--url", help="ask this one instance by HTTP instead; needs no config and no database"
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("ROWCAST_TOKEN"),
        help="for --url, where the bridge asks for one: it must meet auth.inspect"
        " (default: $ROWCAST_TOKEN)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document for programs")


def run(args: argparse.Namespace) -> int:
    from bridge.rollcall import Found, Roll, call, fetch

    if args.url:
        status = fetch(args.url, args.token)
        roll = Roll(args.url, "", status.queue, (Found(status.instance, "", None, status),))
    else:
        roll = call(options.load(args))
    lines = [json.dumps(_document(roll), indent=2)] if args.json else _page(roll, time.time())
    for line in lines:
        print(line)
    return 0 if roll.instances and all(map(_well, roll.instances)) else 3


def _well(found: Found) -> bool:
    return found.status is not None and found.status.ready


def _document(roll: Roll) -> dict[str, object]:
    instances = [
        {"name": one.name, "address": one.address, "connected": one.connected}
        | {"status": one.status and one.status._asdict()}
        for one in roll.instances
    ]
    return roll._asdict() | {"instances": instances}


# For people.


def _page(roll: Roll, now: float) -> Iterator[str]:
    count = len(roll.instances)
    server = f", PostgreSQL {roll.server}" if roll.server else ""
    yield f"{count} instance{'' if count == 1 else 's'}: {roll.database}{server}"
    if roll.instances:
        yield ""
        yield from _table([TITLES, *(_row(one, now) for one in roll.instances)])
        yield ""
    yield from _notes(roll)


def _row(found: Found, now: float) -> tuple[str, ...]:
    if (status := found.status) is None:
        since = _ago(found.connected)
        return (found.name, "?", found.address or "?", "?", "?", since, "no answer", *"???", "?")
    return (
        status.instance,
        status.version,
        status.host,
        str(status.pid),
        status.address,
        _ago(now - status.since if status.since else None),
        "yes" if status.ready else "no",
        str(status.subscribers),
        str(status.topics),
        f"{status.lag:.1f} s",
        "yes" if status.leading else "",
    )


def _notes(roll: Roll) -> Iterator[str]:
    answered = [one.status for one in roll.instances if one.status is not None]
    for status in answered:
        yield from (_plain(f"{status.instance} is not ready: {why}") for why in _reasons(status))
    for one in roll.instances:
        if one.status is None:
            yield f"{one.name} listens and does not answer: an older version, or it hangs"
    if len({status.version for status in answered}) > 1:
        yield "the instances are of different versions"
    if drift := max((status.drift for status in answered), default=0):
        yield f"triggers differ from the config ({drift} found); `rowcast check` lists them"
    if not roll.instances:
        yield "no instance listens to this database for this config's schema"
    yield f"the NOTIFY queue is {roll.queue:.1%} full"


def _reasons(status: Status) -> Sequence[str]:
    return status.reasons or (() if status.ready else ("it does not say why to us",))


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    shown = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield _joined(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _joined(cells: Iterable[str]) -> str:
    return "  ".join(cells).rstrip()


def _plain(text: str) -> str:
    """Any role can answer, and must not write to the terminal of who reads."""
    return "".join(c if c.isprintable() else "?" for c in text)
