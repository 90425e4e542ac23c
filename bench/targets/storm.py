"""P8. An instance of two is killed: all its clients come back to the other at once.

Each follows ten topics of one row, of 2,000 topics altogether, and every row changes while nobody
is there. Right again is a client that has the new state of each of its topics.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.crowd import crowd
from bench.report import Result, Table, Verdict, row
from bench.stats import spread
from bench.targets.fanout import TABLE
from bench.world import bridge, connect, fresh, postgres, subscribe

if TYPE_CHECKING:
    from bench.run import Run
    from bench.world import Database

TARGET = "P8"
TITLE = "A herd that returns"

TOPICS, EACH = 2_000, 10


def measure(run: Run) -> Result:
    clients = run.size(5_000, 500)
    seconds, queries, shared = [], [], []
    with postgres(run.pg, statements=True) as server:
        for number, _ in run.turns(["an instance is killed"], 3, 1):
            took, asked = once(run, server, f"storm{number}", clients)
            seconds.append(took)
            queries.append(float(asked))
            shared.append(asked / TOPICS / max(1.0, took))
    columns = ("seconds until all are right", "queries", "queries ÷ topics ÷ seconds")
    return Result(
        "storm",
        TARGET,
        TITLE,
        (
            Table(
                columns,
                (row(f"{clients:,} clients, {EACH} topics each", seconds, queries, shared),),
            ),
        ),
        (
            Verdict(f"seconds until {clients:,} clients are right", spread(seconds).median, 10.0),
            Verdict("queries per topic and second", spread(shared).median, 1.0),
        ),
        notes=(f"{TOPICS:,} topics altogether; queries are all that the bridge asks meanwhile",),
        about={"postgresql": server.version},
    )


def once(run: Run, server: Database, name: str, clients: int) -> tuple[float, int]:
    """Seconds until all are right again, and the queries of the instance that is left."""
    rows = TABLE.format(filling=90, keys=TOPICS - 1) + "INSERT INTO items VALUES (0, 0, '');"
    url = fresh(server, name, rows)
    says = [subscribe(f"items/$n+{number * 199}%{TOPICS}") for number in range(EACH)]
    tables = "  items: {topics: ['items/{id}']}"
    limits = "{connections: 20000, address_rate: 100000}"
    with ExitStack() as stack:
        one, other = (stack.enter_context(bridge(url, tables, limits=limits)) for _ in range(2))
        run.step("clients connect")
        herd = stack.enter_context(
            crowd(one.socket, clients, *says, ready=1 + 2 * EACH, mark='"n": 1,')
        )
        herd.move(other.socket)
        before = server.said("rowcast")
        run.step("and come back")
        one.process.signal(signal.SIGKILL)
        with connect(url) as connection:
            connection.execute("UPDATE items SET n = 1")
        return herd.righted(), server.said("rowcast") - before
