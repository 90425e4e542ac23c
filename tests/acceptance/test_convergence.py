"""The oracle: when writes stop, every client holds what SELECT returns, whatever happened.

And meanwhile nobody went back in time, saw what was rolled back or was told a row of
another topic, and no write of the application failed. `./dev chaos` is the same for longer,
with every fault there is; tests/chaos says how it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.arena import run
from tests.chaos.plan import Plan

if TYPE_CHECKING:
    from tests.chaos.report import Report

pytestmark = pytest.mark.timeout(600)


async def clean(config: pytest.Config, faults: str, hits: int, **more: object) -> Report:
    """Until so many things were hit by these faults."""
    options = {"phase": (4.0, 8.0), "pause": (0.0, 0.15), "pg": config.getoption("--pg"), **more}
    once = {"seconds": 240.0, "round_seconds": 240.0}
    report = await run(Plan(1, faults=tuple(faults.split()), hits=hits, **once, **options))
    assert report.broken is None, report.failure()
    assert sum(report.hit.values()) >= hits
    return report


async def test_a_hundred_killed_listeners(pytestconfig: pytest.Config) -> None:
    await clean(pytestconfig, "F1", hits=100, readers=8, rate=300.0)


async def test_every_connection_of_the_bridges_is_killed_and_so_are_they(
    pytestconfig: pytest.Config,
) -> None:
    faults = "F1 F2 F3 F6 F9b F27"
    await clean(pytestconfig, faults, hits=150, sockets=20, streams=10, readers=6, rate=200.0)
