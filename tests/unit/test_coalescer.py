"""The coalescer by example: debounce 10, max wait 50, times in whole seconds."""

from __future__ import annotations

import pytest

from bridge.changes import Change, Dirty, Gap, Operation
from bridge.coalescer import Coalescer

DEBOUNCE, MAX_WAIT = 10, 50
INSERT, UPDATE, DELETE = Operation


def change(key: str = "a", operation: Operation = UPDATE, old: str | None = None) -> Change:
    return Change("orders", (key,), operation, None if old is None else (old,))


def coalescer(leading: bool = True, capacity: int = 100, batch: int = 100) -> Coalescer:
    return Coalescer(DEBOUNCE, MAX_WAIT, leading, capacity=capacity, batch=batch)


def drain(keys: Coalescer, until: float) -> list[tuple[float, str]]:
    """Take at every deadline up to `until`: (time, key) of all that came out."""
    out: list[tuple[float, str]] = []
    while (due := keys.deadline()) is not None and due <= until:
        out += [(due, dirty.key[0]) for dirty in keys.take(due)]
    return out


def replay(keys: Coalescer, script: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Changes at their times, and every key taken at its deadline."""
    out: list[tuple[float, str]] = []
    for now, key in script:
        out += drain(keys, now)
        assert keys.add(change(key), now) is None
    return out + drain(keys, 10_000)


def test_nothing_is_due_when_nothing_changed() -> None:
    keys = coalescer()
    assert (keys.deadline(), keys.take(1_000), len(keys)) == (None, (), 0)


@pytest.mark.parametrize(
    ("leading", "changes", "taken"),
    [
        pytest.param(True, [0], [0], id="leading: a quiet key goes at once"),
        pytest.param(False, [0], [10], id="trailing: a quiet key waits for quiet"),
        pytest.param(True, [0, 4], [0, 14], id="what follows within the window is held"),
        pytest.param(True, [0, 4, 8], [0, 18], id="each change restarts the debounce"),
        pytest.param(
            True, [0, 4, 15], [0, 14, 15], id="quiet counts from the change, not the take"
        ),
        pytest.param(True, [0, 10], [0, 10], id="quiet for exactly the debounce is quiet"),
        pytest.param(True, [0, 4, 24], [0, 14, 24], id="quiet again after the trailing edge"),
        pytest.param(False, [0, 9, 18, 27], [37], id="trailing: changes extend the wait"),
        pytest.param(False, [0, 10], [10, 20], id="trailing: due before the change comes"),
        pytest.param(False, list(range(0, 101, 5)), [50, 100, 110], id="trailing: max wait"),
        pytest.param(True, list(range(0, 101, 5)), [0, 55, 105], id="leading: max wait"),
    ],
)
def test_timing_of_one_key(leading: bool, changes: list[float], taken: list[float]) -> None:
    script = [(now, "a") for now in changes]
    assert replay(coalescer(leading), script) == [(now, "a") for now in taken]


def test_max_wait_shorter_than_the_debounce_wins() -> None:
    keys = Coalescer(DEBOUNCE, 3, leading=False)
    assert replay(keys, [(0, "a"), (1, "a")]) == [(3, "a")]


def test_without_a_debounce_every_change_is_due_at_once() -> None:
    for leading in (True, False):
        keys = Coalescer(0, 0, leading)
        assert replay(keys, [(0, "a"), (0, "a"), (1, "a")]) == [(0, "a"), (0, "a"), (1, "a")]


def test_a_due_key_stays_due_however_often_it_changes() -> None:
    keys = coalescer(leading=False)
    for now in (0, 11, 12):
        keys.add(change(), now)
    assert keys.deadline() == 10
    assert [dirty.key for dirty in keys.take(12)] == [("a",)]


def test_a_change_during_its_own_reload_makes_the_key_dirty_again() -> None:
    keys = coalescer()
    keys.add(change(), 0)
    assert len(keys.take(0)) == 1
    keys.add(change(), 1)
    assert (len(keys), keys.deadline(), keys.take(10)) == (1, 11, ())
    assert len(keys.take(11)) == 1


def test_longest_due_first_and_never_more_than_a_batch() -> None:
    keys = coalescer(batch=2)
    for now, key in enumerate("cab"):
        keys.add(change(key), now)
    assert [dirty.key[0] for dirty in keys.take(5)] == ["c", "a"]
    assert keys.deadline() == 2
    assert [dirty.key[0] for dirty in keys.take(5)] == ["b"]


@pytest.mark.parametrize(
    ("changes", "dirty"),
    [
        ([change()], Dirty(("a",), True)),
        ([change(operation=INSERT)], Dirty(("a",), False)),
        ([change(operation=DELETE)], Dirty(("a",), True)),
        ([change(operation=INSERT), change(operation=DELETE)], Dirty(("a",), False)),
        ([change(operation=DELETE), change(operation=INSERT)], Dirty(("a",), True)),
        (
            [change(old="7"), change(), change(old="8"), change(old="7")],
            Dirty(("a",), True, frozenset({("7",), ("8",)})),
        ),
        (
            [change(operation=INSERT), change(operation=DELETE, old="7")],
            Dirty(("a",), False, frozenset({("7",)})),
        ),
    ],
)
def test_merging(changes: list[Change], dirty: Dirty) -> None:
    keys = coalescer()
    for one in changes:
        keys.add(one, 0)
    assert keys.take(0) == (dirty,)


def test_a_failed_reload_leaves_its_keys_dirty() -> None:
    keys = coalescer()
    keys.add(change(operation=INSERT, old="1"), 0)
    taken = keys.take(0)
    keys.add(change(operation=UPDATE, old="2"), 1)
    keys.restore(taken, 2, delay=5)
    assert (keys.deadline(), keys.take(6), len(keys)) == (7, (), 1)
    assert keys.take(7) == (Dirty(("a",), False, frozenset({("1",), ("2",)})),)
    assert (keys.deadline(), len(keys)) == (None, 0)


def test_changes_do_not_move_a_retry() -> None:
    keys = coalescer()
    keys.add(change(), 0)
    keys.restore(keys.take(0), 0, delay=20)
    for now in (1, 19):
        keys.add(change(), now)
        keys.restore([Dirty(("b",), True)], now, delay=40)
        assert keys.deadline() == 20


def test_a_key_that_failed_and_came_is_still_not_quiet() -> None:
    keys = coalescer()
    keys.add(change(), 0)
    keys.restore(keys.take(0), 1, delay=1)
    assert len(keys.take(2)) == 1
    keys.add(change(), 9)
    assert keys.deadline() == 19


def test_more_keys_than_fit_collapse_into_a_gap() -> None:
    keys = coalescer(capacity=2)
    assert [keys.add(change(key), 0) for key in "abab"] == [None] * 4
    gap = keys.add(change("c"), 0)
    assert isinstance(gap, Gap)
    assert gap.table == "orders"
    assert (len(keys), keys.deadline(), keys.take(1_000)) == (0, None, ())
    assert keys.add(change("c"), 0) is None
    assert keys.deadline() == 0


def test_more_old_values_than_fit_collapse_too() -> None:
    keys = coalescer(capacity=2)
    for now in range(3):  # what left with `take` makes room again
        keys.add(change(old="1"), now * 10)
        keys.add(change(old="2"), now * 10)
        assert keys.add(change(old="1"), now * 10) is None
        assert len(keys.take(now * 10)) == 1
    keys.add(change(old="1"), 100)
    keys.add(change("b", old="1"), 100)
    assert isinstance(keys.add(change("b", old="2"), 100), Gap)
    assert len(keys) == 0


def test_restored_old_values_are_counted_once() -> None:
    keys = coalescer(capacity=2)
    keys.add(change(old="1"), 0)
    taken = keys.take(0)
    keys.add(change(old="1"), 1)
    keys.restore(taken, 2, delay=0)
    assert keys.add(change(old="2"), 2) is None
    keys.restore(keys.take(2), 3, delay=0)
    assert isinstance(keys.add(change(old="3"), 3), Gap)


def test_what_is_restored_may_exceed_the_capacity_and_the_next_key_does_not() -> None:
    keys = coalescer(capacity=2)
    for key in "ab":
        keys.add(change(key), 0)
    taken = keys.take(0)
    for key in "cd":
        keys.add(change(key), 0)
    keys.restore(taken, 1, delay=0)
    assert len(keys) == 4
    assert isinstance(keys.add(change("e"), 1), Gap)
    assert len(keys) == 0


def test_clear_covers_what_is_dirty() -> None:
    keys = coalescer()
    keys.add(change("a"), 0)
    keys.clear()
    assert (len(keys), keys.deadline()) == (0, None)
    keys.add(change("a"), 1)
    assert keys.deadline() == 1


def test_quiet_times_are_kept_for_the_whole_debounce() -> None:
    keys = coalescer()
    for now, key in enumerate("abcdefghi"):
        keys.add(change(key), now)
        assert len(keys.take(now)) == 1
    for key in "abcdefghi":
        keys.add(change(key), 9)
    assert keys.deadline() == 19


def test_quiet_times_are_forgotten_past_the_capacity() -> None:
    keys = coalescer(capacity=2)
    for key in "abcdef":
        keys.add(change(key), 0)
        keys.take(0)
    keys.add(change("f"), 1)
    assert keys.deadline() == 11
    keys.clear()
    keys.add(change("a"), 1)
    assert keys.deadline() == 1
