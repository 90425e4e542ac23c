"""P1. A quiet key: from COMMIT to the message at a WebSocket client.

Everybody has a database of their own in one server, and all wait while one is asked, in turns.
The clock runs from when COMMIT is sent until the one subscriber has the message; commits do not
wait for the disk, which would be the same for all and hide the difference. Between two of a table
lies a tenth of a second: more often, a durable table's writers are let off ringing, and a change
waits for the next look (`bridge.pacer`), which is another thing to measure (`tests.pacing`).
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench import peers
from bench.processes import started
from bench.report import Missing, Result, Table, Verdict, row
from bench.sockets import Socket
from bench.stats import percentile, ratios, spread
from bench.world import bridge, connect, fresh, postgres, subscribe
from bridge.demo.ports import free_port

if TYPE_CHECKING:
    from bench.run import Run
    from bench.world import Database

TARGET = "P1"
TITLE = "From commit to subscriber"

KEYS = 100
_PAUSE = 0.02, 0.05
FLOOR, SEED = "floor: bare LISTEN, SELECT, send", "seed's design (Node)"
ROWCAST, DURABLE = "Rowcast", "Rowcast, durable"

_TABLE = """
CREATE TABLE items (id int PRIMARY KEY, note text NOT NULL, filling text NOT NULL);
INSERT INTO items SELECT n, '', repeat('x', 100) FROM generate_series(1, 100) n;
ANALYZE items;
"""
NOTIFIES = """
CREATE FUNCTION notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('floor', NEW.id::text); RETURN NULL; END $$;
CREATE TRIGGER notify AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION notify();
"""
SEED_TRIGGER = """
CREATE FUNCTION seed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('seed', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP,
        'key', coalesce(NEW.id, OLD.id), 'time', clock_timestamp())::text);
    RETURN NULL;
END $$;
CREATE TRIGGER seed AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION seed();
"""


class Line:
    """One design: its database, and its subscriber."""

    def __init__(self, stack: ExitStack, url: str, socket: str, *say: str) -> None:
        self._writer = stack.enter_context(connect(url))
        self._socket = Socket(socket, *say)
        stack.callback(self._socket.close)
        if say:
            self._socket.until(b'"snapshot"')

    def once(self, number: int) -> float:
        """Seconds from COMMIT to the message."""
        mark = f"written {number}."
        self._writer.execute("BEGIN")
        self._writer.execute(
            "UPDATE items SET note = %s WHERE id = %s", (mark, number % KEYS + 1), prepare=True
        )
        begun = time.perf_counter()
        self._writer.execute("COMMIT")
        self._socket.until(mark.encode())
        return time.perf_counter() - begun


def measure(run: Run) -> Result:
    samples = run.size(200, 60)
    with postgres(run.pg) as server, ExitStack() as stack:
        # Last those who ping their clients, whom nobody reads until all are there.
        lines = {FLOOR: floor(stack, server)}
        if not (missing := peers.without_node("pg", "ws")):
            lines[SEED] = seed(stack, server)
        lines[ROWCAST] = rowcast(stack, server, "plain")
        lines[DURABLE] = rowcast(stack, server, "durable", durable=True)
        found: dict[str, list[list[float]]] = {name: [] for name in lines}
        for number, _ in run.turns(["all in turn"], 5):
            of_round = taken(lines, number * samples, samples)
            for name, seconds in of_round.items():
                found[name].append(seconds)
    return _result(found, missing, server.version)


def taken(lines: dict[str, Line], first: int, samples: int) -> dict[str, list[float]]:
    """Each line in turn, so many times; the seed, which takes its 100 ms, less often."""
    found: dict[str, list[float]] = {name: [] for name in lines}
    dice = random.Random(first)
    for number in range(first, first + samples):
        for name in dice.sample(sorted(lines), len(lines)):
            if name == SEED and number % 10:
                continue
            time.sleep(dice.uniform(*_PAUSE))
            found[name].append(lines[name].once(number))
    return found


def floor(stack: ExitStack, server: Database) -> Line:
    url = fresh(server, "floor", _TABLE + NOTIFIES)
    port = free_port()
    command = [sys.executable, "-m", "bench.peers.floor", url, "floor", "items", str(port)]
    stack.enter_context(started(command))
    peers.until_open(port)
    return Line(stack, url, f"ws://127.0.0.1:{port}/")


def seed(stack: ExitStack, server: Database) -> Line:
    url = fresh(server, "seed", _TABLE + SEED_TRIGGER.format(table="items"))
    port = stack.enter_context(peers.seed(url, "items")).port
    return Line(stack, url, f"ws://127.0.0.1:{port}/sub")


def rowcast(stack: ExitStack, server: Database, name: str, *, durable: bool = False) -> Line:
    url = fresh(server, name, _TABLE)
    options = "{durable: true}" if durable else "{}"
    ready = stack.enter_context(bridge(url, f"  items: {options}"))
    return Line(stack, url, ready.socket, subscribe("items"))


def _result(found: dict[str, list[list[float]]], missing: str, version: str) -> Result:
    half = {name: [percentile(s, 50) * 1000 for s in rounds] for name, rounds in found.items()}
    most = {name: [percentile(s, 99) * 1000 for s in rounds] for name, rounds in found.items()}
    rows = [
        row(
            name, half[name], most[name], *_beside(half[name], half[FLOOR], most[name], most[FLOOR])
        )
        for name in found
    ]
    if missing:
        rows.append(row(SEED, Missing(missing)))
    verdicts = [
        Verdict(f"{name}, {what} ÷ floor", spread(ratios(of[name], of[FLOOR])).median, limit)
        for name in (ROWCAST, DURABLE)
        for what, of, limit in (("p50", half, 2.0), ("p99", most, 3.0))
    ]
    return Result(
        "latency",
        TARGET,
        TITLE,
        (Table(("p50, ms", "p99, ms", "p50 ÷ floor", "p99 ÷ floor"), tuple(rows)),),
        tuple(verdicts),
        about={"postgresql": version, "samples": sum(map(len, found[ROWCAST]))},
    )


def _beside(*pairs: list[float]) -> tuple[list[float], list[float]]:
    half, half_floor, most, most_floor = pairs
    return ratios(half, half_floor), ratios(most, most_floor)
