"""What `rowcast check --bench` says of what it measured."""

from __future__ import annotations

from bridge.commits import WRITERS, Measured, Rate, said


def measured(plain: int, ringing: int, **other: object) -> Measured:
    """Commits of eight writers in a second, without NOTIFY and with it."""
    about = {"synchronous": "on", "fsync": "on", "slots": 0} | other
    one = Rate(1, 500, 1.0)
    return Measured(one, Rate(WRITERS, plain, 1.0), one, Rate(WRITERS, ringing, 1.0), **about)  # type: ignore[arg-type]


def words(found: Measured) -> str:
    return "\n".join(said(found))


def test_rates_and_latencies() -> None:
    assert Rate(8, 4_000, 2.0).per_second == 2_000
    assert Rate(8, 4_000, 2.0).latency == 0.004
    assert Rate(1, 0, 2.0).latency == 2.0


def test_where_notify_is_dear_it_says_how_much_and_what_to_do() -> None:
    text = words(measured(2_600, 480))
    assert "2.00 ms" in text
    assert "about 480 transactions that notify" in text
    assert "fewer than about 120 transactions" in text
    assert "up to about 1,800 per second" in text
    assert "Make the busy ones `durable`" in text
    assert "fsync" not in text
    assert "synchronous_commit" not in text
    assert "replication" not in text


def test_where_notify_is_cheap_it_is_no_concern() -> None:
    text = words(measured(20_000, 15_000))
    assert "NOTIFY leaves 75% of the commits here" in text
    assert "Make the busy ones" not in text


def test_what_makes_the_figures_say_less_is_said() -> None:
    text = words(measured(9_000, 900, synchronous="off", fsync="off", slots=2))
    assert "fsync is off" in text
    assert "synchronous_commit is off" in text
    assert "2 logical replication slots" in text


def test_it_says_what_it_did() -> None:
    assert "Done to the database: 4,480 commits" in words(measured(3_000, 480))
