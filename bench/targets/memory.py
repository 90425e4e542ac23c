"""P7. Memory of the server for each idle connection with one subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import peers
from bench.report import Curve, Missing, Result, Table, Verdict, row
from bench.stats import spread
from bench.targets.fanout import ROWCAST, ours, server_of
from bench.world import postgres

if TYPE_CHECKING:
    from bench.run import Run
    from bench.targets.fanout import Server

TARGET = "P7"
TITLE = "Memory of idle connections"


def measure(run: Run) -> Result:
    counts = run.size((1_000, 10_000), (200, 1_000))
    lines = {ROWCAST: None, **{peer.name: peer for peer in peers.known(run.peers)}}
    found: dict[tuple[str, int], list[float]] = {}
    with postgres(run.pg) as server:
        for _, name in run.turns(list(lines), 1, 1):
            if (peer := lines[name]) is not None and peer.missing:
                continue
            for count in counts:
                run.step(f"{name}, {count} connections")
                with ours(server_of(server), 1) if peer is None else peers.running(peer) as served:
                    found.setdefault((name, count), []).append(each(served, count))
    rows, curves = [], []
    for name, peer in lines.items():
        if peer is not None and peer.missing:
            rows.append(row(name, *[Missing(peer.missing)] * len(counts)))
            continue
        rows.append(row(name, *(found[name, count] for count in counts)))
        points = tuple((float(count), spread(found[name, count])) for count in counts)
        curves.append(Curve(name, points))
    few, many = (spread(found[ROWCAST, count]).median for count in counts)
    return Result(
        "memory",
        TARGET,
        TITLE,
        (Table(tuple(f"{n:,} connections, KiB each" for n in counts), tuple(rows), digits=1),),
        (
            Verdict(f"KiB per connection, {counts[-1]:,}", many, 16.0),
            Verdict(f"{counts[-1]:,} ÷ {counts[0]:,}", many / few, 1.3),
        ),
        tuple(curves),
        ("connections", "KiB per connection"),
    )


def each(served: Server, count: int) -> float:
    """KiB per connection. Some come and go before, for what is allocated once."""
    with served.subscribers(10):
        pass
    before = served.process.memory()
    with served.subscribers(count):
        return (served.process.memory() - before) / count / 1024
