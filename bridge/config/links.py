"""What the entries of `tables` say about each other and about themselves.

An entry with `refreshes` and no `topics` is not served: it only sends another table's
rows again, so whatever says what is sent, and when, has no meaning there. Where
entries refresh each other in turn, the chain must end in one that is served.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from bridge.config import values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.config.source import Data, Path

    Entry: TypeAlias = Mapping[str, Data]
    Entries: TypeAlias = Mapping[str, Entry]
    Finding: TypeAlias = tuple[Path, str]

_SERVED = ("columns", "exclude", "document", "where", "debounce", "max_wait", "leading")
"""What only means something where rows are served."""


def findings(entries: Entries) -> Iterator[Finding]:
    """What contradicts itself in an entry, or between entries."""
    for name, entry in entries.items():
        path: Path = ("tables", name)
        yield from _target(name, entry, entries, path)
        yield from _through(entry, path)
        yield from _operations(entry, path)
        yield from _unserved(entry, path)
    yield from _circles(entries)


def served(entry: Entry) -> bool:
    """Whether the entry has topics, its own or the default ones."""
    return "refreshes" not in entry or "topics" in entry


def _target(name: str, entry: Entry, entries: Entries, path: Path) -> Iterator[Finding]:
    target = entry.get("refreshes")
    if not isinstance(target, str) or target in entries:
        if target == name:
            yield (*path, "refreshes"), "a table cannot refresh itself; name the one that is sent"
        return
    close = get_close_matches(target, [other for other in entries if other != name], n=1)
    meant = f" (did you mean '{close[0]}'?)" if close else "; add it, or name one that is there"
    yield (*path, "refreshes"), f"there is no table {values.shown(target)} in this file{meant}"


def _through(entry: Entry, path: Path) -> Iterator[Finding]:
    through = entry.get("through")
    if "through" in entry and "refreshes" not in entry:
        yield (*path, "through"), "is pointless without refreshes; name the table it leads to"
    seen: set[str] = set()
    for own, target in through.items() if isinstance(through, dict) else ():
        if isinstance(target, str):
            if target in seen:
                yield (*path, "through", own), f"{values.shown(target)} is named twice; keep one"
            seen.add(target)


def _operations(entry: Entry, path: Path) -> Iterator[Finding]:
    operations = entry.get("operations")
    if "changed" in entry and isinstance(operations, list) and "update" not in operations:
        message = "is pointless without update among the operations; remove it, or add update"
        yield (*path, "changed"), message


def _unserved(entry: Entry, path: Path) -> Iterator[Finding]:
    for key in () if served(entry) else _SERVED:
        if key in entry:
            yield (
                (*path, key),
                "means nothing here: with refreshes and no topics the table itself is not"
                " sent; add topics, or remove this",
            )


def _circles(entries: Entries) -> Iterator[Finding]:
    """Each circle once, at the first of its entries."""
    known: set[str] = set()
    for name in entries:
        circle = _circle(name, entries)
        if len(circle) > 1 and not known & set(circle):
            way = " → ".join([*circle, name])
            yield ("tables", name, "refreshes"), f"goes in a circle: {way}; break it at one place"
        known |= set(circle)


def _circle(start: str, entries: Entries) -> list[str]:
    """The entries from `start` back to it; empty where the way does not return."""
    way = [start]
    while len(way) <= len(entries):
        target = entries[way[-1]].get("refreshes")
        if target == start:
            return way
        if not isinstance(target, str) or target not in entries:
            return []
        way.append(target)
    return []
