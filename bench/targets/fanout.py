"""P5. Fan-out: processor time of the server for each delivery of one message of 300 bytes.

One key, 1,000 and 5,000 subscribers that do nothing but read, in a process of their own. The next
message is published when everybody has the one before. For the bridge publishing is an UPDATE,
and its processor time includes hearing of it, reading the row and coalescing.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from bench import peers
from bench.crowd import crowd
from bench.report import Curve, Missing, Result, Table, Verdict, row
from bench.stats import ratios, spread
from bench.world import bridge, connect, fresh, postgres, subscribe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from bench.crowd import Crowd
    from bench.processes import Process
    from bench.run import Run
    from bench.world import Database

TARGET = "P5"
TITLE = "Fan-out of one key"

SIZE = 300
"""Bytes of a message, about."""

ROWCAST, NCHAN = "Rowcast", "nchan"

TABLE = """
CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, filling text NOT NULL);
INSERT INTO items SELECT n, 0, repeat('x', {filling}) FROM generate_series(1, {keys}) n;
ANALYZE items;
"""
FILLING = 90
"""What makes a change message of the bridge that long."""


class Server(Protocol):
    """What fans out: the bridge, or a peer."""

    @property
    def process(self) -> Process: ...
    def subscribers(self, count: int) -> AbstractContextManager[Crowd]: ...
    def send(self, messages: list[str]) -> None: ...


class Ours:
    """The bridge as a server of what is written to its table."""

    def __init__(self, url: str, socket: str, process: Process, stack: ExitStack) -> None:
        self._writer = stack.enter_context(connect(url))
        self.socket = socket
        self.process = process

    def subscribers(self, count: int) -> AbstractContextManager[Crowd]:
        return crowd(self.socket, count, subscribe("items"), ready=3)

    def send(self, messages: list[str]) -> None:
        """As many keys as there are messages, in one statement."""
        keys = list(range(1, len(messages) + 1))
        self._writer.execute("UPDATE items SET n = n + 1 WHERE id = ANY(%s)", (keys,))


@contextmanager
def ours(server: Database, keys: int) -> Iterator[Ours]:
    """A bridge that sends a change as soon as it knows of it, however short ago the last was."""
    name = f"fanout{keys}"
    url = fresh(server, name, TABLE.format(filling=FILLING, keys=keys))
    limits = "{connections: 20000, address_rate: 100000, command_rate: 100000}"
    top = {"debounce": "1ms", "limits": limits}
    with bridge(url, "  items: {topics: [items]}", **top) as ready, ExitStack() as stack:
        yield Ours(url, ready.socket, ready.process, stack)


def message(n: int) -> str:
    text = json.dumps({"n": n, "filling": ""})
    return json.dumps({"n": n, "filling": "x" * (SIZE - len(text))})


def measure(run: Run) -> Result:
    subscribers = run.size((1_000, 5_000), (200,))
    times = {count: max(10, run.size(120_000, 10_000) // count) for count in subscribers}
    lines = {ROWCAST: None, **{peer.name: peer for peer in peers.known(run.peers)}}
    found: dict[tuple[str, int], list[float]] = {}
    with postgres(run.pg) as server:
        for _, name in run.turns(list(lines), 3):
            if (peer := lines[name]) is not None and peer.missing:
                continue
            with ours(server_of(server), 1) if peer is None else peers.running(peer) as served:
                for count in subscribers:
                    run.step(f"{name}, {count} subscribers")
                    cost = each(served, count, times[count], 1)
                    found.setdefault((name, count), []).append(cost)
    return _result(found, lines, subscribers)


def server_of(server: Database) -> Database:
    """Without the database of the last round."""
    with connect(server.url()) as connection:
        for keys in (1, 20):
            connection.execute(f"DROP DATABASE IF EXISTS fanout{keys} WITH (FORCE)".encode())
    return server


def each(served: Server, count: int, times: int, messages: int) -> float:
    """Microseconds of processor time for each message to each subscriber."""
    with served.subscribers(count) as everybody:
        said = [message(n) for n in range(messages)]
        deliver(served, everybody, said, 3)
        before = served.process.cpu()
        deliver(served, everybody, said, times)
        return (served.process.cpu() - before) / (count * times * messages) * 1e6


def deliver(served: Server, everybody: Crowd, said: list[str], times: int) -> None:
    for _ in range(times):
        everybody.expect(len(said))
        served.send(said)
        everybody.received()


def _result(
    found: dict[tuple[str, int], list[float]],
    lines: dict[str, peers.Peer | None],
    subscribers: tuple[int, ...],
) -> Result:
    rows, curves, verdicts = [], [], []
    for name, peer in lines.items():
        if peer is not None and peer.missing:
            rows.append(row(name, *[Missing(peer.missing)] * len(subscribers)))
            continue
        rows.append(row(name, *(found[name, count] for count in subscribers)))
        points = tuple((float(count), spread(found[name, count])) for count in subscribers)
        curves.append(Curve(name, points))
    for count in subscribers:
        if (NCHAN, count) in found:
            ratio = ratios(found[ROWCAST, count], found[NCHAN, count])
            what = f"Rowcast ÷ nchan, {count:,} subscribers"
            verdicts.append(Verdict(what, spread(ratio).median, 0.8))
    return Result(
        "fanout",
        TARGET,
        TITLE,
        (Table(tuple(f"{n:,} subscribers, µs" for n in subscribers), tuple(rows)),),
        tuple(verdicts),
        tuple(curves),
        ("subscribers", "µs per delivery"),
    )
