from __future__ import annotations

import pytest

from bridge.gateways.server import pace


@pytest.mark.parametrize("count", [0, 1, 50, 10_000])
@pytest.mark.parametrize("drain", [0.0, 1.0, 20.0])
def test_everybody_is_told_in_half_of_the_drain(count: int, drain: float) -> None:
    assert 0 <= pace(count, drain) * count <= drain / 2


def test_few_are_told_without_delay_and_many_spread() -> None:
    assert pace(2, 20.0) * 2 == 0.01
    assert pace(10_000, 20.0) * 10_000 == 10.0
