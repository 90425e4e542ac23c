from __future__ import annotations

import pytest

from bridge.watchdog import Pulse


@pytest.mark.parametrize("patience", [1, 5])
def test_what_never_turns_hangs_after_so_many_looks(patience: int) -> None:
    pulse = Pulse(patience)
    assert [pulse.hangs() for _ in range(patience + 1)] == [False] * (patience - 1) + [True] * 2


def test_one_turn_in_time_is_enough() -> None:
    pulse = Pulse(3)
    for _ in range(10):
        pulse.beat()
        assert [pulse.hangs() for _ in range(3)] == [False] * 3


def test_many_turns_between_two_looks_count_once() -> None:
    pulse = Pulse(2)
    for _ in range(5):
        pulse.beat()
    assert [pulse.hangs() for _ in range(3)] == [False, False, True]


def test_who_is_stopped_too_sees_no_hang() -> None:
    """Where nobody looks, no time passes: the first look after a stop is like any other."""
    pulse = Pulse(2)
    pulse.beat()
    assert not pulse.hangs()
    assert not pulse.hangs()  # the process was stopped for an hour before this look
    pulse.beat()
    assert not pulse.hangs()
