"""P9. Idle: what a bridge asks of the database, and what it costs, while nothing is written."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.crowd import crowd
from bench.report import Result, Table, Verdict, row
from bench.stats import spread
from bench.targets.fanout import TABLE
from bench.world import bridge, fresh, postgres, subscribe

if TYPE_CHECKING:
    from bench.run import Run

TARGET = "P9"
TITLE = "Idle"

HEARTBEAT, LOOK = 12, 6
"""Per minute: a probe every five seconds; a look at the queue and the triggers every ten."""

CLIENTS = 100


def measure(run: Run) -> Result:
    seconds = run.size(60.0, 12.0)
    queries, processor = [], []
    with postgres(run.pg, statements=True) as server, ExitStack() as stack:
        url = fresh(server, "idle", TABLE.format(filling=90, keys=100))
        ready = stack.enter_context(bridge(url, "  items: {}", reconcile="0s"))
        stack.enter_context(crowd(ready.socket, CLIENTS, subscribe("items"), ready=3))
        time.sleep(2.0)
        for number in range(run.rounds or 1):
            run.step(f"round {number + 1}: nothing happens for {seconds:.0f} s")
            before, cpu = server.said("rowcast"), ready.process.cpu()
            time.sleep(seconds)
            queries.append((server.said("rowcast") - before) * 60 / seconds)
            processor.append((ready.process.cpu() - cpu) / seconds * 100)
    label = f"Rowcast, {CLIENTS} subscribers"
    return Result(
        "idle",
        TARGET,
        TITLE,
        (Table(("queries per minute", "processor, %"), (row(label, queries, processor),)),),
        (
            # A round may begin just before one of each.
            Verdict("queries per minute", spread(queries).median, HEARTBEAT + LOOK + 2),
        ),
        notes=("`reconcile: 0s`; by default it adds one read of all that is followed per minute",),
        about={"postgresql": server.version},
    )
