"""How fast this database commits, with NOTIFY and without: `rowcast check --bench`.

Each commit writes one small record to the log of transactions (`pg_logical_emit_message`) and so
waits for the disk as an application's does, but it touches no table, needs no rights, and leaves
nothing behind. The loop runs in the server: no network is measured.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from bridge.errors import DatabaseError
from bridge.session import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.config import Config

SECONDS = 0.15
"""How long each of the four measurements takes, and …"""

ROUNDS = 3
"""… how often, in turn: the machine may do other things meanwhile."""

WRITERS = 8

DURABLE = 0.70
"""What a durable, followed table left of the writes without a trigger, of 8 writers that do nothing
but write (docs/performance.md): the trigger's own work, which is not measured here."""

CHEAP = 0.6
"""Share of commits that NOTIFY has to leave to be no concern."""

_BEFORE = """
SELECT pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync'),
       (SELECT count(*) FROM pg_replication_slots
        WHERE slot_type = 'logical' AND database = current_database())
"""

_LOOP = """
DO $loop$
DECLARE
    commits int := 0;
    stop timestamptz := clock_timestamp() + make_interval(secs => {seconds});
BEGIN
    WHILE clock_timestamp() < stop LOOP
        PERFORM pg_logical_emit_message(true, 'rowcast_bench', '');
        {notify}
        COMMIT;
        commits := commits + 1;
    END LOOP;
    PERFORM set_config('rowcast_bench.commits', commits::text, false);
END $loop$
"""
_NOTIFY = sql.SQL("PERFORM pg_notify('rowcast_bench', '');")
_COUNT = "SELECT current_setting('rowcast_bench.commits')::int"


class Rate(NamedTuple):
    """So many commits of so many writers in so many seconds."""

    writers: int
    commits: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.commits / self.seconds

    @property
    def latency(self) -> float:
        """Seconds that one of them took."""
        return self.writers * self.seconds / max(1, self.commits)


class Measured(NamedTuple):
    """One writer and several, without NOTIFY and with it. `synchronous`: what PostgreSQL's
    setting says, and `fsync`; `slots`: logical replication of this database that has seen it."""

    alone: Rate
    crowd: Rate
    alone_ringing: Rate
    crowd_ringing: Rate
    synchronous: str
    fsync: str
    slots: int

    @property
    def commits(self) -> int:
        rates = (self.alone, self.crowd, self.alone_ringing, self.crowd_ringing)
        return sum(rate.commits for rate in rates)


def measure(config: Config, seconds: float = SECONDS) -> Measured:
    """Raises DatabaseError."""
    target = Target(config.listen, name="rowcast check --bench")
    try:
        with ExitStack() as stack:
            sessions = [
                stack.enter_context(psycopg.connect(**target.params, autocommit=True))
                for _ in range(WRITERS)
            ]
            standby, *settings = _before(sessions[0])
            if standby:
                raise DatabaseError(f"{target}: this is a standby, which commits nothing")
            alone, crowd, alone_ringing, crowd_ringing = _in_turn(sessions, seconds)
    except psycopg.Error as error:
        raise DatabaseError(target.describe(error)) from None
    return Measured(alone, crowd, alone_ringing, crowd_ringing, *settings)


def _in_turn(sessions: Sequence[psycopg.Connection[Any]], seconds: float) -> list[Rate]:
    kinds = [(notify, writers) for notify in (False, True) for writers in (1, len(sessions))]
    rounds = [
        [_run(sessions[:writers], seconds, notify=notify) for notify, writers in kinds]
        for _ in range(ROUNDS)
    ]
    return [
        Rate(kind[0].writers, sum(one.commits for one in kind), ROUNDS * seconds)
        for kind in zip(*rounds, strict=True)
    ]


def _before(session: psycopg.Connection[Any]) -> Any:
    return session.execute(_BEFORE).fetchone()


def _run(sessions: Sequence[psycopg.Connection[Any]], seconds: float, *, notify: bool) -> Rate:
    """All at once; each by the server's clock."""
    loop = sql.SQL(_LOOP).format(
        seconds=sql.Literal(seconds), notify=_NOTIFY if notify else sql.SQL("")
    )
    ready = Barrier(len(sessions))

    def write(session: psycopg.Connection[Any]) -> int:
        ready.wait(10)
        session.execute(loop)
        ((commits,),) = session.execute(_COUNT).fetchall()
        return int(commits)

    with ThreadPoolExecutor(len(sessions)) as threads:
        return Rate(len(sessions), sum(threads.map(write, sessions)), seconds)


# In words.


def said(found: Measured) -> Iterator[str]:
    """What was measured, what follows from it, and what was done to the database."""
    yield "commits of this database     1 writer             8 writers"
    yield _line("without NOTIFY", found.alone, found.crowd)
    yield _line("with NOTIFY", found.alone_ringing, found.crowd_ringing)
    yield ""
    yield from _meaning(found)
    yield from _caveats(found)
    yield ""
    yield (
        f"Done to the database: {found.commits:,} commits by {WRITERS} sessions, each a record of"
        " some 100 bytes in the WAL (pg_logical_emit_message), half of them with a NOTIFY on"
        " rowcast_bench, where nobody listens. No table was touched and nothing stays."
    )


def _line(what: str, one: Rate, many: Rate) -> str:
    cells = (f"{rate.latency * 1000:7.2f} ms {rate.per_second:7.0f}/s" for rate in (one, many))
    return f"  {what:<18}" + "    ".join(cells)


def _meaning(found: Measured) -> Iterator[str]:
    ceiling, plain = found.crowd_ringing.per_second, found.crowd.per_second
    if ceiling >= CHEAP * plain:
        yield (
            f"NOTIFY leaves {ceiling / plain:.0%} of the commits here: it is no concern on this"
            " server. Tables need not be `durable` for the sake of their writers."
        )
        return
    yield (
        f"At most about {_round(ceiling)} transactions that notify commit per second on this"
        " server, in all its databases together: PostgreSQL commits them one after the other."
    )
    yield (
        f"Tables that are not `durable`: fine while all of them together see fewer than about"
        f" {_round(ceiling / 4)} transactions per second at the busiest moment, a quarter of that."
    )
    yield (
        "Tables that are `durable`: while somebody follows them and many write, their writers do"
        f" not notify, so up to about {_round(DURABLE * plain)} per second from {WRITERS} writers"
        f" ({DURABLE:.0%} of what commits without; the rest is the trigger's work, as measured"
        " elsewhere). Make the busy ones `durable`."
    )


def _caveats(found: Measured) -> Iterator[str]:
    if found.fsync != "on":
        yield "fsync is off here: no commit waits for the disk, which a production server's does."
    if found.synchronous not in ("on", "local", "remote_write", "remote_apply"):
        yield (
            f"synchronous_commit is {found.synchronous} for this role: its commits do not wait for"
            " the disk; where your application's role has another setting, they do."
        )
    if found.slots:
        yield (
            f"{found.slots} logical replication slots of this database have seen the records as"
            " messages with the prefix rowcast_bench; PostgreSQL's subscriptions ignore them."
        )


def _round(number: float) -> str:
    """To two digits: it is no more exact than that."""
    return f"{float(f'{number:.2g}'):,.0f}"
