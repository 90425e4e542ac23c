"""The coalescer against a model that keeps every change for ever and works all out anew."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bridge.changes import Change, Dirty, Gap, Key, Old, Operation
from bridge.coalescer import Coalescer

KEYS = [(name,) for name in "abcdef"]
OLDS: list[Old | None] = [None, ("1",), ("2",), (None,)]

changes = st.builds(
    Change, st.just("t"), st.sampled_from(KEYS), st.sampled_from(Operation), st.sampled_from(OLDS)
)
durations = st.tuples(st.integers(0, 9), st.integers(0, 30), st.booleans())


@dataclass
class Seen:
    """One change, or one key that came back from a failed reload (then `retry` is its time)."""

    at: int
    key: Key
    existed: bool
    old: frozenset[Old]
    sent: bool = False
    retry: int | None = None


@dataclass
class Model:
    """Every change that ever was. Obviously right, and obviously slow."""

    debounce: int
    max_wait: int
    leading: bool
    seen: list[Seen] = field(default_factory=list)

    def add(self, change: Change, now: int) -> None:
        old = frozenset() if change.old is None else frozenset([change.old])
        self.seen.append(Seen(now, change.key, change.operation is not Operation.INSERT, old))

    def unsent(self, key: Key) -> list[Seen]:
        return [one for one in self.seen if one.key == key and not one.sent]

    def dirty(self) -> list[Key]:
        return [key for key in KEYS if self.unsent(key)]

    def due(self, key: Key) -> int:
        waiting = self.unsent(key)
        retries = [one.retry for one in waiting if one.retry is not None]
        if retries:
            return retries[-1]
        first = waiting[0].at
        before = [one.at for one in self.seen if one.key == key and one.sent]
        if self.leading and all(at + self.debounce <= first for at in before):
            return first
        due = min(first + self.debounce, first + self.max_wait)
        for one in waiting:
            if one.at < due:
                due = min(one.at + self.debounce, first + self.max_wait)
        return due

    def merged(self, key: Key) -> Dirty:
        waiting = self.unsent(key)
        return Dirty(key, waiting[0].existed, frozenset().union(*(one.old for one in waiting)))

    def send(self, key: Key) -> None:
        for one in self.unsent(key):
            one.sent = True
        # A retry is not a change: it says nothing about when the key was quiet.
        self.seen = [one for one in self.seen if one.retry is None or not one.sent]

    def restore(self, dirty: Dirty, at: int) -> None:
        self.seen.insert(0, Seen(0, dirty.key, dirty.existed, dirty.old, retry=at))
        for one in self.unsent(dirty.key):
            one.retry = at if one.retry is not None else None

    def clear(self) -> None:
        self.seen = [one for one in self.seen if one.sent]


class Against(RuleBasedStateMachine):
    """Any interleaving of changes, time, takes, failed reloads and gaps."""

    @initialize(durations=durations, batch=st.integers(1, 4))
    def start(self, durations: tuple[int, int, bool], batch: int) -> None:
        self.now = 0
        self.batch = batch
        self.model = Model(*durations)
        # A capacity that is never met: overflow has its own tests, and a model of what
        # is forgotten past it would be a second implementation.
        self.keys = Coalescer(*durations, capacity=1_000, batch=batch)
        self.in_flight: list[Dirty] = []

    @rule(change=changes)
    def add(self, change: Change) -> None:
        assert self.keys.add(change, self.now) is None
        self.model.add(change, self.now)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.model.dirty())
    @rule()
    def wait_for_the_deadline(self) -> None:
        deadline = self.keys.deadline()
        assert deadline is not None
        self.now = max(self.now, int(deadline))
        if deadline == self.now:
            assert self.keys.take(self.now - 1) == ()
        assert self.taken()

    @rule()
    def take(self) -> None:
        self.taken()

    def taken(self) -> list[Dirty]:
        due = {key: self.model.due(key) for key in self.model.dirty()}
        expected = sorted(at for at in due.values() if at <= self.now)[: self.batch]
        taken = list(self.keys.take(self.now))
        assert [due[dirty.key] for dirty in taken] == expected
        assert len({dirty.key for dirty in taken}) == len(taken)
        for dirty in taken:
            assert dirty == self.model.merged(dirty.key)
            self.model.send(dirty.key)
        self.in_flight = taken
        return taken

    @rule(delay=st.integers(0, 15))
    def fail(self, delay: int) -> None:
        self.keys.restore(self.in_flight, self.now, delay)
        for dirty in self.in_flight:
            self.model.restore(dirty, self.now + delay)
        self.in_flight = []

    @rule()
    def clear(self) -> None:
        self.keys.clear()
        self.model.clear()

    @invariant()
    def nothing_is_forgotten_and_the_deadline_is_exact(self) -> None:
        dirty = self.model.dirty()
        assert len(self.keys) == len(dirty)
        expected = min((self.model.due(key) for key in dirty), default=None)
        assert self.keys.deadline() == expected


Against.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstTheModel = Against.TestCase

scripts = st.lists(st.tuples(st.integers(0, 8), changes), max_size=40)


def play(script: list[tuple[int, Change]], *args: int) -> list[tuple[float, Dirty]]:
    """What comes out, and when, if every key is taken at its deadline."""
    keys = Coalescer(args[0], args[1], bool(args[2]))
    out: list[tuple[float, Dirty]] = []

    def drain(until: float) -> None:
        while (due := keys.deadline()) is not None and due <= until:
            out.extend((due, dirty) for dirty in keys.take(due))

    now = 0
    for seconds, change in script:
        now += seconds
        drain(now)
        assert keys.add(change, now) is None
    drain(10_000)
    return out


@given(scripts, durations)
def test_keys_do_not_matter_to_each_other(
    script: list[tuple[int, Change]], durations: tuple[int, int, bool]
) -> None:
    together = play(script, *durations)
    for key in KEYS:
        own: list[tuple[int, Change]] = []
        now = last = 0
        for seconds, change in script:
            now += seconds
            if change.key == key:
                own.append((now - last, change))
                last = now
        assert play(own, *durations) == [item for item in together if item[1].key == key]


@given(scripts, durations)
def test_no_change_waits_longer_than_max_wait(
    script: list[tuple[int, Change]], durations: tuple[int, int, bool]
) -> None:
    sent = play(script, *durations)
    now = 0
    for seconds, change in script:
        now += seconds
        waits = [at - now for at, dirty in sent if dirty.key == change.key and at >= now]
        assert waits
        assert min(waits) <= durations[1]


@given(scripts, durations, st.integers(1, 4))
def test_memory_is_bounded_and_overflow_is_a_gap(
    script: list[tuple[int, Change]], durations: tuple[int, int, bool], capacity: int
) -> None:
    keys = Coalescer(*durations, capacity=capacity)
    dirty: set[Key] = set()
    olds: set[tuple[Key, Old]] = set()
    now = 0
    for seconds, change in script:
        now += seconds
        dirty.add(change.key)
        if change.old is not None:
            olds.add((change.key, change.old))
        gap = keys.add(change, now)
        assert (gap is not None) == (max(len(dirty), len(olds)) > capacity)
        if gap is not None:
            assert gap == Gap("t", gap.reason)
            assert keys.deadline() is None
            dirty, olds = set(), set()
        assert len(keys) == len(dirty)
