"""What floods is written so often, and counted."""

from __future__ import annotations

import logging

from bridge.commands.options import _Human
from bridge.flood import BURST, Flood


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(event: str, name: str = "bridge.gateways.reading", **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "msg": event, "levelname": "WARNING"} | extra)


def test_a_flood_is_cut_and_counted_and_hides_no_other_event() -> None:
    flood = Flood(clock := Clock())
    kept = [flood.filter(record("origin refused", origin=str(n))) for n in range(1_000)]
    assert sum(kept) == BURST
    assert kept[0]
    assert flood.filter(record("read failed"))
    clock.now = 60 / BURST + 0.001
    after = record("origin refused")
    assert flood.filter(after)
    assert after.left_out == 1_000 - BURST
    assert not flood.filter(record("origin refused"))
    clock.now = 1_000.0
    later = [record("origin refused") for _ in range(BURST)]
    assert all(map(flood.filter, later))
    assert later[0].left_out == 1
    assert not hasattr(later[1], "left_out")


def test_it_remembers_no_more_than_there_are_events() -> None:
    flood = Flood(Clock())
    for n in range(1_000):
        flood.filter(record(f"something {n} happened", name="somebody.elses"))
    assert len(flood._buckets) == 1


def test_what_comes_from_outside_does_not_write_to_the_terminal() -> None:
    line = _Human().format(record("origin refused", origin="http://x\x1b[2J\n", created=0.0))
    assert line.isprintable()
    assert r"http://x\x1b[2J\n" in line
