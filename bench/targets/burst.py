"""P4. A burst: 100,000 changes of 1,000 keys, as fast as four sessions can write them.

Counted are the messages that the one subscriber of the whole table gets, the reads, and the
processor time of the listening program. And how many notifications per second a bridge takes in:
100,000 of them, which one transaction has sent while the bridge was held, from letting it go until
it has counted the last.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from bench import peers
from bench.report import Missing, Result, Table, Verdict, row
from bench.sockets import Reader, Socket
from bench.stats import spread
from bench.targets.latency import SEED_TRIGGER
from bench.world import bridge, connect, fresh, postgres, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.processes import Process
    from bench.run import Run
    from bench.world import Database

TARGET = "P4"
TITLE = "A burst"

WRITERS, PER_TRANSACTION = 4, 20
MAX_WAIT = 1.0
DEBOUNCE = "500ms"  # so that also on a slow machine no key is quiet before the burst is over
ROWCAST, SEED = "Rowcast", "seed's design (Node)"

_TABLE = """
CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL, filling text NOT NULL)
    WITH (fillfactor = 50);
INSERT INTO items SELECT n, 0, repeat('x', 100) FROM generate_series(1, {keys}) n;
ANALYZE items;
"""


class Burst(NamedTuple):
    """`seconds` of writing; `cpu` seconds of the listening program, until the last message."""

    changes: int
    seconds: float
    messages: int
    queries: int
    cpu: float

    @property
    def each(self) -> float:
        """Microseconds of processor time for one change."""
        return self.cpu / self.changes * 1e6


class Intake(NamedTuple):
    """Notifications per second, and microseconds of the bridge's processor time for each."""

    rate: float
    each: float


def measure(run: Run) -> Result:
    changes, keys = run.size((100_000, 1_000), (20_000, 1_000))
    found: dict[str, list[Burst]] = {}
    with postgres(run.pg) as server, ExitStack() as stack:
        lines = {ROWCAST: rowcast(stack, server, keys)}
        if not (missing := peers.without_node("pg", "ws")):
            lines[SEED] = seed(stack, server, keys)
        for _, name in run.turns(list(lines), 3):
            found.setdefault(name, []).append(lines[name](changes))
        run.step("taking in")
        notifications = run.size(100_000, 20_000)
        taken_in = [taking_in(server, notifications) for _ in range(run.size(5, 2))]
        return _result(found, taken_in, keys, missing, server.version)


def rowcast(
    stack: ExitStack,
    server: Database,
    keys: int,
    calm: float = 2 * MAX_WAIT,
    **timing: str,
) -> Callable[[int], Burst]:
    """`calm` is seconds after writing until all has been told but what is written then."""
    name = f"burst{keys}"
    url = fresh(server, name, _TABLE.format(keys=keys))
    top = {"debounce": DEBOUNCE, "limits": "{snapshot_rows: 100000}", **timing}
    ready = stack.enter_context(bridge(url, "  items: {}", **top))
    socket = Socket(ready.socket, subscribe("items"))
    socket.until(b'"last":true')
    reader = _reader(stack, socket)

    def burst(changes: int) -> Burst:
        said, read = reader.messages, ready.metrics()["reloads"]
        seconds, cpu = _written(server, name, changes, keys, ready.process, reader, calm)
        queries = int(ready.metrics()["reloads"] - read)
        return Burst(changes, seconds, reader.messages - said, queries, cpu)

    return burst


def seed(stack: ExitStack, server: Database, keys: int) -> Callable[[int], Burst]:
    script = _TABLE.format(keys=keys) + SEED_TRIGGER.format(table="items")
    served = stack.enter_context(peers.seed(fresh(server, "seedburst", script), "items"))
    reader = _reader(stack, Socket(f"ws://127.0.0.1:{served.port}/sub"))

    def burst(changes: int) -> Burst:
        said = reader.messages
        calm = 2 * MAX_WAIT
        seconds, cpu = _written(server, "seedburst", changes, keys, served.process, reader, calm)
        return Burst(changes, seconds, reader.messages - said, reader.messages - said, cpu)

    return burst


def _reader(stack: ExitStack, socket: Socket) -> Reader:
    stack.callback(socket.close)
    return Reader(socket)


def _written(
    server: Database,
    name: str,
    changes: int,
    keys: int,
    process: Process,
    reader: Reader,
    calm: float,
) -> tuple[float, float]:
    """A burst's writing seconds, and the processor time of who listens, to the last message."""
    cpu, mark = process.cpu(), uuid4().hex
    seconds = write(server, name, changes, keys)
    time.sleep(calm)  # what is written next is the last to be said
    reader.expect(mark.encode())
    with connect(server.url(name)) as connection:
        connection.execute("UPDATE items SET filling = %s WHERE id = 1", (mark,))
    reader.received()
    return seconds, process.cpu() - cpu


def write(server: Database, database: str, changes: int, keys: int) -> float:
    """So many changes, each session its own keys one after the other; seconds that it took."""
    script = (
        f"\\set n (:n + 1) % {keys // WRITERS}\n"
        f"\\set id :n * {WRITERS} + :client_id + 1\n"
        "UPDATE items SET n = n + 1 WHERE id = :id;\n"
    )
    count = changes // WRITERS // PER_TRANSACTION
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(f"BEGIN;\n{script * PER_TRANSACTION}COMMIT;\n")
        file.flush()
        command = [str(server.binary("pgbench")), "-n", "-M", "prepared", "-c", str(WRITERS)]
        command += ["-j", "2", "-t", str(count), "-D", "n=0", "-f", file.name]
        command.append(server.url(database))
        begun = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - begun


def taking_in(server: Database, count: int) -> Intake:
    """What one transaction notified while the bridge was held, until it has counted the last."""
    database = "takingin"
    with connect(server.url()) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)".encode())
    url = fresh(server, database, _TABLE.format(keys=1))
    with bridge(url, "  items: {}") as ready, connect(url) as writer:
        before = ready.metrics()["notifications"]
        ready.process.signal(signal.SIGSTOP)
        writer.execute(
            """SELECT count(pg_notify('rowcast', '{"t":"items","o":"u","k":[["' || n || '"]]}'))
               FROM generate_series(1, %s) n""",
            (count,),
        )
        cpu, begun = ready.process.cpu(), time.perf_counter()
        ready.process.signal(signal.SIGCONT)
        while ready.metrics()["notifications"] - before < count:
            time.sleep(0.1)  # for each look costs the bridge time
        seconds = time.perf_counter() - begun
        return Intake(count / seconds, (ready.process.cpu() - cpu) / count * 1e6)


def _result(
    found: dict[str, list[Burst]], taken_in: list[Intake], keys: int, missing: str, version: str
) -> Result:
    rows = [
        row(
            name,
            [one.seconds for one in bursts],
            [float(one.messages) for one in bursts],
            [float(one.queries) for one in bursts],
            [one.each for one in bursts],
        )
        for name, bursts in found.items()
    ]
    if missing:
        rows.append(row(SEED, Missing(missing)))
    columns = ("writing, s", "messages", "reads", "processor time per change, µs")
    ours = found[ROWCAST]
    # Every key may go at once, then once for each `max_wait`, and once more at the end.
    over = max(one.messages / (keys * (one.seconds / MAX_WAIT + 2)) for one in ours)
    read = max(one.queries / one.messages for one in ours)
    rates, each = [one.rate for one in taken_in], [one.each for one in taken_in]
    return Result(
        "burst",
        TARGET,
        TITLE,
        (
            Table(columns, tuple(rows), digits=1),
            Table(
                ("notifications taken in per second", "processor time for each, µs"),
                (row(ROWCAST, rates, each),),
                digits=1,
            ),
        ),
        (
            Verdict("messages ÷ (keys × (seconds ÷ max_wait + 2))", over, 1.0),
            Verdict("reads ÷ messages (the seed's: 1)", read, 1.0),
            Verdict("notifications taken in per second", spread(rates).median, 1e5, at_least=True),
        ),
        about={"postgresql": version, "changes": ours[0].changes, "keys": keys},
    )
