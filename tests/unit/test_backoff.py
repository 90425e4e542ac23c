from __future__ import annotations

import pytest

from bridge.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_cap_and_resets() -> None:
    backoff = Backoff(0.05, 0.3, share=lambda: 1.0)
    assert [backoff.delay() for _ in range(5)] == pytest.approx([0.05, 0.1, 0.2, 0.3, 0.3])
    backoff.reset()
    assert backoff.delay() == pytest.approx(0.05)


def test_a_delay_is_any_share_of_the_ceiling() -> None:
    shares = iter([0.0, 0.5, 0.25])
    backoff = Backoff(1.0, 8.0, share=lambda: next(shares))
    assert [backoff.delay() for _ in range(3)] == pytest.approx([0.0, 1.0, 1.0])
