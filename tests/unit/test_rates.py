"""How often something may happen: N in a second and not N + 1, for ever after and from anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rates import Arrivals, Bucket, Gathering, origin


def test_a_burst_and_then_the_rate() -> None:
    bucket = Bucket(rate=2, burst=3, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(200.0) for _ in range(4)] == [True, True, True, False]


@given(st.integers(1, 20), st.integers(1, 20), st.lists(st.floats(0, 2, width=16), max_size=60))
def test_never_more_than_burst_and_rate_allow(rate: int, burst: int, steps: list[float]) -> None:
    now, taken = 0.0, 0
    bucket = Bucket(rate, burst, now)
    for step in steps:
        now += step
        taken += bucket.take(now)
    assert taken <= burst + now * rate


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 0.1)), max_size=60))
def test_looks_that_find_little_keep_to_the_rate(found: list[tuple[int, float]]) -> None:
    now = rich = 0.0
    gathering = Gathering(rate=10, looks=3, many=5, now=now)
    for number, (things, later) in enumerate(found, 1):
        rich += things >= 5
        now += gathering.pause(things, now)
        assert number <= 3 + now * 10 + rich + 1e-6
        now += later


def test_few_looks_wait_for_nothing() -> None:
    gathering = Gathering(rate=10, looks=3, many=5, now=0.0)
    assert [gathering.pause(1, second) for second in range(100)] == [0.0] * 100


def test_each_address_has_its_own() -> None:
    arrivals = Arrivals(2)
    assert [arrivals.take("192.0.2.1", 0.0) for _ in range(3)] == [True, True, False]
    assert arrivals.take("192.0.2.2", 0.0)
    assert arrivals.take("192.0.2.1", 0.5)


def test_addresses_are_forgotten() -> None:
    arrivals = Arrivals(2)
    for n in range(1000):
        arrivals.take(f"10.0.{n // 250}.{n % 250}", 0.0)
    assert len(arrivals) == 1000
    arrivals.take("192.0.2.1", 2.0)
    assert len(arrivals) == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_whose_an_address_is(address: str, name: str) -> None:
    assert origin(address) == name
