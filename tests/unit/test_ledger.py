"""What was told, and what is news: rows are digests 1, 2, 3; versions single letters."""

from __future__ import annotations

import pytest

from bridge.changes import Effect
from bridge.ledger import Ledger, Verdict

INSERT, UPDATE, DELETE = Effect.INSERT, Effect.UPDATE, Effect.DELETE


@pytest.fixture
def ledger() -> Ledger:
    """Synced at version b, with keys x and y."""
    ledger = Ledger()
    assert ledger.sync({"x": 1, "y": 1}, "b") == {}
    return ledger


@pytest.mark.parametrize(
    ("key", "digest", "verdict"),
    [
        ("x", 2, Verdict(UPDATE, fresh=True)),
        ("x", 1, Verdict(UPDATE, fresh=False)),
        ("x", None, Verdict(DELETE, fresh=True)),
        ("z", 1, Verdict(INSERT, fresh=True)),
        ("z", None, Verdict(DELETE, fresh=False)),
    ],
)
def test_what_a_state_is_to_those_who_were_told(
    ledger: Ledger, key: str, digest: int | None, verdict: Verdict
) -> None:
    assert ledger.tell(key, digest, "c", INSERT, reading=False) == verdict


def test_a_state_older_than_what_was_told_is_nothing(ledger: Ledger) -> None:
    assert ledger.tell("x", 2, "a", UPDATE, reading=False) is None


def test_before_the_first_read_the_changes_know_best() -> None:
    assert Ledger().tell("x", 1, "a", UPDATE, reading=True) == Verdict(UPDATE, fresh=True)


def test_a_read_shows_what_nobody_told_of(ledger: Ledger) -> None:
    assert ledger.sync({"x": 2, "z": 1}, "c") == {"x": UPDATE, "y": DELETE, "z": INSERT}
    assert ledger.sync({"x": 2, "z": 1}, "d") == {}


def test_what_was_told_after_a_read_began_stays_told(ledger: Ledger) -> None:
    ledger.tell("x", 3, "e", UPDATE, reading=True)
    ledger.tell("y", None, "e", DELETE, reading=True)
    assert ledger.sync({"x": 2, "y": 1}, "d") == {}
    assert ledger.tell("x", 3, "f", UPDATE, reading=False) == Verdict(UPDATE, fresh=False)
    assert ledger.tell("y", 1, "f", INSERT, reading=False) == Verdict(INSERT, fresh=True)


def test_a_row_that_is_again_what_it_was_outlives_a_read_of_the_time_between(
    ledger: Ledger,
) -> None:
    ledger.tell("x", 1, "e", UPDATE, reading=True)
    assert ledger.sync({"x": 2, "y": 1}, "d") == {}, "at e it was 1 again"


def test_tombstones_end_with_the_read_they_are_for(ledger: Ledger) -> None:
    ledger.tell("x", None, "c", DELETE, reading=True)
    ledger.tell("y", None, "c", DELETE, reading=False)
    assert len(ledger) == 1
    ledger.sync({}, "d")
    assert len(ledger) == 0


def test_what_differs_is_suspect_until_a_notification_tells_of_it(ledger: Ledger) -> None:
    ledger.suspect(ledger.sync({"x": 2, "y": 2}, "c"), now=10.0)
    ledger.tell("x", 2, "d", UPDATE, reading=False)
    assert ledger.missed(before=9.0) == 0
    assert ledger.missed(before=10.0) == 1
    assert ledger.missed(before=10.0) == 0


def test_a_state_read_before_the_last_whole_read_is_not_told() -> None:
    ledger = Ledger()
    ledger.sync({"1": 11}, "a")
    assert ledger.sync({}, "c") == {"1": Effect.DELETE}
    # Its read began while the row was there, and took longer than the one that missed it.
    assert ledger.tell("1", 11, "b", Effect.UPDATE, reading=False) is None
    assert ledger.sync({}, "d") == {}
    verdict = ledger.tell("1", 12, "d", Effect.UPDATE, reading=False)
    assert verdict == Verdict(Effect.INSERT, fresh=True)
