"""What the entries of `tables` say that does not go together with `mode: log`, or needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bridge.config import values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.source import Data, Path

    Entry: TypeAlias = Mapping[str, Data]
    Finding: TypeAlias = tuple[Path, str]

_STATES = {
    "operations": "only inserts count",
    "changed": "only inserts count",
    "debounce": "every row is sent at once",
    "max_wait": "every row is sent at once",
    "leading": "every row is sent at once",
    "refreshes": "its rows are sent, and no other's; watch the table under a second name for it",
    "through": "its rows are sent, and no other's",
}
"""What speaks of states, and why it says nothing of a log."""


def findings(entries: Mapping[str, Entry]) -> Iterator[Finding]:
    """What contradicts itself in an entry, or between two."""
    for name, entry in entries.items():
        if entry.get("mode") == "log":
            yield from _log(name, entry)
        elif "position" in entry:
            path = ("tables", name, "position")
            yield path, "is for a log table; add `mode: log`, or remove it"
        target = entry.get("refreshes")
        if isinstance(target, str) and entries.get(target, {}).get("mode") == "log":
            message = f"{values.shown(target)} is a log, whose rows are sent once; name another"
            yield ("tables", name, "refreshes"), message


def _log(name: str, entry: Entry) -> Iterator[Finding]:
    for key, reason in _STATES.items():
        if key in entry:
            yield ("tables", name, key), f"means nothing with `mode: log`: {reason}; remove it"
    if "durable" in entry and not _meant(entry["durable"]):
        message = "a log is always kept in the database; remove this, or `mode: log`"
        yield ("tables", name, "durable"), message


def _meant(durable: Data) -> bool:
    try:
        return values.flag(durable)
    except ValueError:  # reported as just that
        return True
