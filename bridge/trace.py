"""What became of each key lately, for the inspector's *why did I not get it?* Bounded.

A ring of steps, in the order in which they happened, and totals by table that never go
down. A step names keys, topics and subscribers' numbers, never a row's values. A bridge
without the inspector has no Trace: there it costs a test for None.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from bridge.changes import Change, Key

CAPACITY = 10_000
"""Steps that are remembered, some megabytes."""

NAMED = 5
"""Subscribers that a step names; the others are counted."""


class Kind(StrEnum):
    """What happened to a key; what has no key happened to a topic, a table, or everything."""

    SEEN = "seen"  # a change arrived
    IGNORED = "ignored"  # a change arrived, and nobody follows the table
    UNWANTED = "unwanted"  # due, and nobody follows a topic of the key
    READ = "read"
    GONE = "gone"  # read, and there is no such row
    REFUSED = "refused"  # PostgreSQL cannot read it
    FAILED = "failed"  # the read failed, and is tried again
    TOLD = "told"
    REPEATED = "repeated"  # read, and equal to what subscribers were told last
    GAP = "gap"  # changes may have been missed: what is followed is read anew
    SNAPSHOT = "snapshot"
    FOUND = "found"  # a read of the topic showed changes that nothing had told of
    DENIED = "denied"  # a token does not allow the topic


class Step(NamedTuple):
    """`at` is seconds since 1970; `table` is empty for all. `detail` is the operation, the
    effect or the user; `hearers` are some of the `told`, of which `later` wait for a snapshot."""

    at: float
    kind: Kind
    table: str
    key: Key | None = None
    topic: str | None = None
    detail: str = ""
    hearers: tuple[int, ...] = ()
    told: int = 0
    later: int = 0


class Trace:
    """Of one bridge. `clock` is seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._steps: deque[Step] = deque(maxlen=capacity)
        self.totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By table: how many `changes`, keys that were `reads`, and `messages`."""

    @property
    def since(self) -> float | None:
        """From when on everything is remembered; None if nothing was forgotten yet."""
        full = len(self._steps) == self._steps.maxlen
        return self._steps[0].at if full else None

    def about(self, table: str, key: Key, topics: Collection[str]) -> Iterator[Step]:
        """Everything that may say why this key was told or not; these topics may hold it."""
        for step in self._steps:
            if step.table not in ("", table):
                continue
            if step.key == key or (step.key is None and step.topic in (None, *topics)):
                yield step

    # What happens, as the parts tell it.

    def seen(self, change: Change, *, followed: bool) -> None:
        self.totals[change.table]["changes"] += 1
        kind = Kind.SEEN if followed else Kind.IGNORED
        self._note(kind, change.table, change.key, detail=change.operation.name.lower())

    def keys(self, kind: Kind, table: str, keys: Iterable[Key]) -> None:
        """The same for each of these keys."""
        for key in keys:
            if kind in (Kind.READ, Kind.GONE):
                self.totals[table]["reads"] += 1
            self._note(kind, table, key)

    def told(
        self, table: str, key: Key, topic: str, effect: str, hearers: Collection[int], sent: int
    ) -> None:
        """`sent` of the hearers get the message now, the others a snapshot later."""
        self.totals[table]["messages"] += sent
        named, count = tuple(hearers)[:NAMED], len(hearers)
        self._note(Kind.TOLD, table, key, topic, effect, named, count, count - sent)

    def repeated(self, table: str, key: Key, topic: str) -> None:
        self._note(Kind.REPEATED, table, key, topic)

    def gap(self, table: str | None) -> None:
        self._note(Kind.GAP, table or "")

    def snapshot(self, table: str, topic: str, hearers: Collection[int]) -> None:
        self.totals[table]["messages"] += len(hearers)
        named = tuple(hearers)[:NAMED]
        self._note(Kind.SNAPSHOT, table, None, topic, "", named, len(hearers))

    def found(self, table: str, topic: str, count: int) -> None:
        self._note(Kind.FOUND, table, None, topic, told=count)

    def denied(self, table: str, topic: str, user: str) -> None:
        self._note(Kind.DENIED, table, None, topic, user)

    def _note(
        self,
        kind: Kind,
        table: str,
        key: Key | None = None,
        topic: str | None = None,
        detail: str = "",
        hearers: tuple[int, ...] = (),
        told: int = 0,
        later: int = 0,
    ) -> None:
        self._steps.append(
            Step(self._clock(), kind, table, key, topic, detail, hearers, told, later)
        )
