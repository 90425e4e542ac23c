"""P6. Twenty keys in one flush to 1,000 subscribers of the table: processor time per message.

A peer is sent twenty messages in one go; the bridge one UPDATE of twenty rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import peers
from bench.report import Missing, Result, Table, Verdict, row
from bench.stats import ratios, spread
from bench.targets.fanout import NCHAN, ROWCAST, each, ours, server_of
from bench.world import postgres

if TYPE_CHECKING:
    from bench.run import Run

TARGET = "P6"
TITLE = "Twenty keys in one flush"

KEYS = 20


def measure(run: Run) -> Result:
    subscribers, times = run.size((1_000, 12), (200, 10))
    lines = {ROWCAST: None, **{peer.name: peer for peer in peers.known(run.peers)}}
    found: dict[str, list[float]] = {}
    with postgres(run.pg) as server:
        for _, name in run.turns(list(lines), 3):
            if (peer := lines[name]) is not None and peer.missing:
                continue
            with ours(server_of(server), KEYS) if peer is None else peers.running(peer) as served:
                found.setdefault(name, []).append(each(served, subscribers, times, KEYS))
    rows = [
        row(name, found[name] if name in found else Missing(peer.missing if peer else ""))
        for name, peer in lines.items()
    ]
    verdicts = []
    if NCHAN in found:
        ratio = spread(ratios(found[ROWCAST], found[NCHAN])).median
        verdicts.append(Verdict("Rowcast ÷ nchan, per message", ratio, 0.2))
    return Result(
        "flush",
        TARGET,
        TITLE,
        (Table((f"{subscribers:,} subscribers, µs per message",), tuple(rows)),),
        tuple(verdicts),
    )
