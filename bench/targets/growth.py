"""P10. Cost as work grows: of a burst's change, of a delivery, at × 1, × 4 and × 16.

Of each there is as much more as its name says: keys, and changes with them, so that each key has as
many; and `debounce` is so long that each has two messages, its first and its last, whatever the
number. With as many changes for more keys, or with a `max_wait` that is over while more are
written, there would be more messages for each change, which is other work and not more of it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.report import Curve, Result, Table, Verdict, row
from bench.stats import Spread, spread
from bench.targets import burst, fanout
from bench.world import postgres

if TYPE_CHECKING:
    from bench.run import Run

TARGET = "P10"
TITLE = "As work grows"

TIMES = (1, 4, 16)
PER_KEY = 40
QUIET = {"debounce": "5s", "max_wait": "10m"}


def measure(run: Run) -> Result:
    keys = {times: run.size(500, 100) * times for times in TIMES}
    subscribers = {times: run.size(300, 30) * times for times in TIMES}
    changes: dict[int, list[float]] = {times: [] for times in TIMES}
    deliveries: dict[int, list[float]] = {times: [] for times in TIMES}
    with postgres(run.pg) as server, ExitStack() as stack:
        lines = {
            times: burst.rowcast(stack, server, keys[times], calm=6.0, **QUIET) for times in TIMES
        }
        for _, times in run.turns(TIMES, 3, 1):
            changes[times].append(lines[times](PER_KEY * keys[times]).each)
        for _, times in run.turns(TIMES, 3, 1):
            with fanout.ours(fanout.server_of(server), 1) as served:
                count = subscribers[times]
                cost = fanout.each(served, count, run.size(96_000, 6_000) // count, 1)
                deliveries[times].append(cost)
    rows = (
        row(f"a change, {keys[1]:,} keys × …, µs", *changes.values()),
        row(f"a delivery, {subscribers[1]:,} subscribers × …, µs", *deliveries.values()),
    )
    return Result(
        "growth",
        TARGET,
        TITLE,
        (Table(tuple(f"× {times}" for times in TIMES), rows),),
        (
            Verdict("a change, × 16 ÷ × 1", _grown(changes), 1.3),
            Verdict("a delivery, × 16 ÷ × 1", _grown(deliveries), 1.3),
        ),
        (Curve("a change", _beside(changes)), Curve("a delivery", _beside(deliveries))),
        ("times the work", "cost per unit ÷ that at × 1"),
        about={"postgresql": server.version},
    )


def _grown(found: dict[int, list[float]]) -> float:
    return spread(found[TIMES[-1]]).median / spread(found[1]).median


def _beside(found: dict[int, list[float]]) -> tuple[tuple[float, Spread], ...]:
    base = spread(found[1]).median
    return tuple((float(n), spread([one / base for one in cost])) for n, cost in found.items())
