"""*Why did I not get it?* answered in words, from what is remembered of a key. Pure.

The answer is about the last thing that happened to the key. What only the database knows,
whether there is such a row and whether it meets `where`, comes in as a `Standing`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from bridge.tables import OPERATIONS
from bridge.trace import Kind, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.changes import Key
    from bridge.tables import Table


class Row(StrEnum):
    """What the database has of a key now."""

    PRESENT = "present"
    FILTERED = "filtered"  # there, and does not meet `where`
    ABSENT = "absent"
    UNKNOWN = "unknown"  # it could not be asked


class Standing(NamedTuple):
    """`values` are the texts of `Table.fields`, only where there is a row."""

    row: Row
    values: Sequence[str | None] = ()


def topics(table: Table, key: Key, standing: Standing) -> list[str]:
    """The topics that hold the row, or would if there was one, as far as that can be told."""
    values: Sequence[str | None] = standing.values or key
    known = dict(zip(table.fields, values, strict=False))
    named = (t for t in table.templates if known.keys() >= set(t.columns))
    return [topic for template in named if (topic := template.topic(known)) is not None]


def filters(table: Table) -> Iterator[str]:
    """What the config leaves out of what happens to a table."""
    if table.where is not None:
        yield f"where: {table.where}"
    if table.operations != OPERATIONS:
        yield f"operations: {', '.join(sorted(table.operations))}"
    if table.changed is not None:
        yield f"changed: {', '.join(table.changed)}"


_LAST = {
    Kind.IGNORED: "A change of it arrived, and nobody followed the table then.",
    Kind.UNWANTED: "It changed, and nobody followed a topic of this key, so it was not read.",
    Kind.READ: "It was read, and nobody followed a topic that holds it.",
    Kind.GONE: "It was read, there is no such row, and nobody followed a topic that held it.",
    Kind.REFUSED: "This row cannot be read, or is larger than limits.row; it counts as poisoned.",
    Kind.FAILED: "The read failed; it is tried again, and the key stays dirty until it succeeds.",
    Kind.REPEATED: "It was read, and is what its subscribers were told last: nothing to send.",
}
_ASIDE = {Kind.DENIED, Kind.GAP}
_WHOLE = {Kind.SNAPSHOT, Kind.FOUND}
"""What is about all rows of a topic, and so about none that is not there."""


def answer(table: Table, steps: Sequence[Step], standing: Standing, followers: int) -> str:
    """One or two sentences; `followers` are those of the key's topics now."""
    if standing.row is Row.FILTERED:
        return "The row is there, but does not meet `where`, so it is in no topic."
    aside = _ASIDE if standing.row is Row.PRESENT else _ASIDE | _WHOLE
    last = next((step for step in reversed(steps) if step.kind not in aside), None)
    said = _silence(table, standing, followers) if last is None else _said(last, table)
    denied = any(step.kind is Kind.DENIED for step in steps)
    return said + (" A token was denied one of its topics." if denied else "")


def _said(last: Step, table: Table) -> str:
    match last.kind:
        case Kind.SEEN:
            return f"A change arrived and waits to be read, at most {table.max_wait:g} s."
        case Kind.TOLD:
            with_what = (
                "the page of the log that they read" if table.log else "the snapshot they wait for"
            )
            later = f", {last.later} of them with {with_what}" if last.later else ""
            return f"Sent as {last.detail} to {_subscribers(last.told)} of {last.topic}{later}."
        case Kind.SNAPSHOT:
            return f"Sent in a snapshot of {last.topic} to {_subscribers(last.told)}."
        case Kind.FOUND:
            return f"A read of {last.topic} found changes that no notification had told of."
    return _LAST[last.kind]


def _silence(table: Table, standing: Standing, followers: int) -> str:
    """Nothing is remembered of the key."""
    if standing.row is Row.ABSENT:
        return "There is no such row, and no change of this key is remembered."
    if not followers:
        return "No change of this key is remembered, and nobody follows a topic that holds it."
    reasons = " Its table leaves some writes out, see below." if any(filters(table)) else ""
    return (
        "No change of this key is remembered: no write was committed since then, or its trigger"
        f" did not fire (`rowcast check` tells).{reasons}"
    )


def _subscribers(count: int) -> str:
    return f"{count} subscriber{'' if count == 1 else 's'}"
