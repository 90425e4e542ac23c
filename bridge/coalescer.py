"""Dirty keys of one table, and when each of them is due. Pure: `now` is an argument.

The rules, all times in seconds of one monotonic clock:

- A change to a key that has been quiet for `debounce` is due at once if `leading`, else
  after `debounce` of quiet. A key never seen, or forgotten, has been quiet.
- A change to any other key is due after `debounce` of quiet, at the latest `max_wait`
  after the first change that was not taken yet. That holds for taken keys too: what
  changes during its own reload waits its turn.
- A key that is due stays due until it is taken, however often it changes meanwhile.
- Memory is bounded. Past `capacity` dirty keys, or as many values in their `old`, all
  that is dirty collapses into one `Gap`; past `capacity` quiet times, the oldest of
  them are forgotten, which costs a message sent early and nothing else.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import TYPE_CHECKING

from bridge.changes import Dirty, Gap, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.changes import Change, Key, Mark, Old


class _Entry:
    """One dirty key. `due` moves with its changes until it meets `limit`, then stays."""

    __slots__ = ("age", "due", "existed", "key", "last", "limit", "mark", "old", "order", "since")

    def __init__(self, key: Key, since: float, due: float, limit: float, order: int) -> None:
        self.key = key
        self.since = since
        self.due = due
        self.limit = limit
        self.order = order
        self.last = -inf
        self.age = 0.0
        self.existed = True
        self.mark: Mark | None = None
        self.old: set[Old] = set()


class Coalescer:
    """Changes in, due keys out; one for each table."""

    def __init__(
        self,
        debounce: float,
        max_wait: float,
        leading: bool,
        *,
        capacity: int = 10_000,
        batch: int = 1000,
    ) -> None:
        """`debounce` and `max_wait` in seconds; `capacity` and `batch` in keys."""
        self._debounce = debounce
        self._max_wait = max_wait
        self._leading = leading
        self._capacity = capacity
        self._batch = batch
        self._dirty: dict[Key, _Entry] = {}
        # Each entry is here once, at its due time or before it: a change moves `due`
        # alone, and the heap follows when the entry comes to the top.
        self._heap: list[tuple[float, int, _Entry]] = []
        self._order = 0
        self._olds = 0
        self._quiet = _QuietTimes(debounce, capacity)
        self.spilled: Mark | None = None
        """The lowest mark of what collapsed into the last Gap."""

    def __len__(self) -> int:
        """Number of dirty keys."""
        return len(self._dirty)

    def __contains__(self, key: Key) -> bool:
        return key in self._dirty

    def add(self, change: Change, now: float, mark: Mark | None = None) -> Gap | None:
        """Take in a change; a Gap if it was one too many, and then nothing is dirty.

        Marks never go down from one call to the next.
        """
        table, key, operation, old, age = change
        entry = self._dirty.get(key)
        if entry is None:
            if len(self._dirty) >= self._capacity:
                return self._overflow(table)
            entry = self._insert(key, now, *self._schedule(key, now))
            entry.existed = operation is not Operation.INSERT
            entry.mark = mark
            entry.age = age
        elif now < entry.due < entry.limit:
            entry.due = min(now + self._debounce, entry.limit)
        entry.last = now
        if old is not None and old not in entry.old:
            return self._leave(table, entry, old)
        return None

    def deadline(self) -> float | None:
        """When the next key is due, which may be in the past; None if nothing is dirty."""
        heap = self._heap
        while heap:
            at, order, entry = heap[0]
            if at >= entry.due:
                return at
            heapreplace(heap, (entry.due, order, entry))
        return None

    def take(self, now: float) -> tuple[Dirty, ...]:
        """The keys that are due, longest due first, at most `batch`; they are clean then."""
        taken: list[Dirty] = []
        while len(taken) < self._batch:
            due = self.deadline()
            if due is None or due > now:
                break
            taken.append(self._pop(now))
        return tuple(taken)

    def restore(self, taken: Iterable[Dirty], now: float, delay: float) -> None:
        """Make keys dirty again whose reload failed; they are due after `delay`.

        They merge with what came meanwhile, and no change moves that time: a busy key
        must not retry faster. May go past the capacity, by what had been taken.
        """
        due = now + delay
        for dirty in taken:
            entry = self._dirty.get(dirty.key) or self._insert(dirty.key, now, due, due)
            entry.due = entry.limit = due
            entry.existed = dirty.existed
            entry.since = dirty.since
            entry.mark = dirty.mark
            entry.age = dirty.age
            self._olds += len(dirty.old - entry.old)
            entry.old |= dirty.old
        # Only here can a key become due earlier than its place in the heap says.
        self._heap = [(entry.due, entry.order, entry) for entry in self._dirty.values()]
        heapify(self._heap)

    def mark(self) -> Mark | None:
        """The lowest mark of what is dirty."""
        return min((e.mark for e in self._dirty.values() if e.mark is not None), default=None)

    def clear(self) -> None:
        """Forget what is dirty: a Gap covers it."""
        self._dirty.clear()
        self._heap.clear()
        self._olds = 0

    def _schedule(self, key: Key, now: float) -> tuple[float, float]:
        """(due, limit) of a key that was clean."""
        if self._leading and self._quiet.was(key, now):
            return now, now
        limit = now + self._max_wait
        return min(now + self._debounce, limit), limit

    def _insert(self, key: Key, now: float, due: float, limit: float) -> _Entry:
        self._order += 1
        entry = self._dirty[key] = _Entry(key, now, due, limit, self._order)
        heappush(self._heap, (due, self._order, entry))
        return entry

    def _leave(self, table: str, entry: _Entry, old: Old) -> Gap | None:
        if self._olds >= self._capacity:
            return self._overflow(table)
        self._olds += 1
        entry.old.add(old)
        return None

    def _pop(self, now: float) -> Dirty:
        entry = heappop(self._heap)[2]
        del self._dirty[entry.key]
        self._olds -= len(entry.old)
        if self._leading and entry.last + self._debounce > now:
            self._quiet.remember(entry.key, entry.last, now)
        old = frozenset(entry.old)
        return Dirty(entry.key, entry.existed, old, entry.since, entry.mark, entry.age)

    def _overflow(self, table: str) -> Gap:
        self.spilled = self.mark()
        self.clear()
        return Gap(table, f"more than {self._capacity} keys are waiting")


class _QuietTimes:
    """When keys that are clean now last changed, as far as it still matters.

    Two generations, so that forgetting costs nothing: a generation is at least
    `debounce` older than the one before the last, or full.
    """

    __slots__ = ("_capacity", "_debounce", "_older", "_recent", "_turned")

    def __init__(self, debounce: float, capacity: int) -> None:
        self._debounce = debounce
        self._capacity = capacity
        self._recent: dict[Key, float] = {}
        self._older: dict[Key, float] = {}
        self._turned = -inf

    def was(self, key: Key, now: float) -> bool:
        """Whether the key has been quiet for `debounce`."""
        last = self._recent.get(key)
        if last is None:
            last = self._older.get(key, -inf)
        return last + self._debounce <= now

    def remember(self, key: Key, last: float, now: float) -> None:
        full = len(self._recent) >= self._capacity
        if full or self._turned + self._debounce <= now:
            self._older, self._recent, self._turned = self._recent, {}, now
        self._recent[key] = last
