"""What a notification costs PostgreSQL by how many instances listen: where one capture for many
gateways begins to pay. It has no target.

Each session that listens is a backend that is woken for each commit that notifies, takes the
payload from the queue and sends it. Counted is the processor time of all of the server.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.report import Curve, Result, Table, row
from bench.stats import spread
from bench.world import connect, postgres

if TYPE_CHECKING:
    from bench.run import Run

TARGET = "scale"
TITLE = "A notification and its listeners"

LISTENERS = (1, 10, 100)


def measure(run: Run) -> Result:
    times = run.size(1_000, 300)
    found: dict[int, list[float]] = {count: [] for count in LISTENERS}
    with postgres(run.pg) as server:
        for _, count in run.turns(LISTENERS, 3, 1):
            with ExitStack() as stack:
                # What is sent to them waits in their sockets, which have room for all of it.
                for _ in range(count):
                    stack.enter_context(connect(server.url())).execute("LISTEN bench")
                writer = stack.enter_context(connect(server.url()))
                before = server.cpu()
                for n in range(times):
                    writer.execute("SELECT pg_notify('bench', %s)", (str(n),))
                found[count].append((server.cpu() - before) / times * 1e6)
        version = server.version
    columns = tuple(f"{count} listening" for count in LISTENERS)
    points = tuple((float(count), spread(cost)) for count, cost in found.items())
    return Result(
        "listeners",
        TARGET,
        TITLE,
        (Table(columns, (row("µs of PostgreSQL per notification", *found.values()),), digits=0),),
        (),
        (Curve("PostgreSQL", points),),
        ("sessions that listen", "µs per notification"),
        about={"postgresql": version},
    )
