"""Readiness: a set of reasons against it, and one line in the log when the last of them goes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bridge.health import Health

if TYPE_CHECKING:
    import pytest


def test_the_log_says_when_nothing_stands_against_it_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    health = Health()
    health.clear("listener")
    health.clear("triggers")
    health.clear("triggers")
    assert caplog.messages == ["ready"]
    health.fail("reload orders", "it is locked")
    health.fail("triggers", "one is gone")
    health.clear("reload orders")
    assert caplog.messages == ["ready"]
    health.clear("triggers")
    assert caplog.messages == ["ready", "ready"]
