"""Two databases, one with capture: they must not differ in anything an application sees.

Each statement runs on both, one after the other, in sessions that live through the whole
history, for it is in an old session that a plan can be out of date. What it did is
compared at once (SQLSTATE, command tag with its row count, rows returned, notices), and
in the end what the tables hold. What only the captured database gets is what only a
bridge would do: installing triggers anew, and losing rights or its schema.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from bridge.config import AuditConfig
from tests.support import connect
from tests.support.application import Application
from tests.support.capture import entry, watch
from tests.support.statements import RIGHTS, SCHEMA, Shape, Step, shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from bridge.config import TableConfig

SESSIONS = 2

NOTHING = Shape("shop", "nothing", partitioned=False, columns=[], types=[], key=[])
"""What a statement is about where every table is gone."""

_MISHAPS = (
    "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowcast FROM PUBLIC",
    "REVOKE ALL ON SCHEMA rowcast FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
)

# Not while a transaction has written to it: that would be waited for.
LOSE_STORE = """
DO $$ BEGIN
    SET LOCAL lock_timeout = '50ms';
    DROP TABLE rowcast.{0}, rowcast.{0}_about;
EXCEPTION WHEN lock_not_available OR undefined_table THEN NULL;
END $$"""

_TABLES = """
SELECT n.nspname, c.relname, c.relispartition, i.indisprimary IS NOT NULL,
       array(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND NOT a.attnum = ANY (coalesce(i.indkey, '')) ORDER BY 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('shop', 'other', 'moved', 'public')
"""
REMEMBERED = 12
"""Statements shown when the databases differ; the seed brings back the rest."""


class Outcome(NamedTuple):
    """What an application can tell of a statement."""

    sqlstate: str | None
    tag: str | None
    rows: tuple[str, ...]
    notices: tuple[str, ...]
    status: TransactionStatus


class Session:
    """One connection of the application, with what the server said beside its answers."""

    def __init__(self, url: str) -> None:
        self.connection = connect(url)
        # A session that never ran PL/pgSQL takes any `SET plpgsql.…` from anybody; capture
        # loads the language, as any other trigger would.
        self.connection.execute("DO $$ BEGIN END $$")
        self._notices: list[str] = []
        self.connection.add_notice_handler(lambda notice: self._notices.append(_said(notice)))

    @property
    def status(self) -> TransactionStatus:
        return self.connection.info.transaction_status

    def run(self, step: Step) -> Outcome:
        self._notices.clear()
        cursor = self.connection.cursor()
        sqlstate = None
        rows: list[str] = []
        try:
            if step.data is None:
                rows = _returned(cursor.execute(step.sql.encode()))
            else:
                with cursor.copy(step.sql.encode()) as copy:
                    copy.write(step.data.encode())
        except psycopg.Error as error:
            sqlstate = error.sqlstate or type(error).__name__
        tag = None if sqlstate else cursor.statusmessage
        return Outcome(sqlstate, tag, tuple(sorted(rows)), tuple(self._notices), self.status)


def _returned(cursor: psycopg.Cursor) -> list[str]:
    """Rows as the server wrote them: it may write dates in ways that Python cannot read."""
    result = cursor.pgresult
    assert result is not None
    columns = range(result.nfields)
    return [str([result.get_value(row, n) for n in columns]) for row in range(result.ntuples)]


def _said(notice: psycopg.errors.Diagnostic) -> str:
    return f"{notice.severity} {notice.sqlstate} {notice.message_primary}"


class Pair:
    """The two databases and a history of statements; `plain` has no capture."""

    def __init__(
        self,
        plain: str,
        captured: str,
        role: str,
        seed: int,
        *,
        durable: bool = False,
        audited: bool = False,
    ) -> None:
        """`audited` with all values."""
        self.random = Random(seed)
        self.seed = seed
        self.options = {"durable": durable, "audit": AuditConfig(None) if audited else None}
        stores = [store for store, kept in (("changes", durable), ("audit", audited)) if kept]
        self.mishaps = (*_MISHAPS, *map(LOSE_STORE.format, stores))
        self.application = Application(self.random, role)
        self._closing = ExitStack()
        self.administrators = [
            self._closing.enter_context(connect(url)) for url in (plain, captured)
        ]
        self.sessions = [(Session(plain), Session(captured)) for _ in range(SESSIONS)]
        for session in (one for pair in self.sessions for one in pair):
            self._closing.callback(session.connection.close)
        self.current = self.sessions[0]
        self.recent: deque[str] = deque(maxlen=REMEMBERED)
        self.outcomes: Counter[str] = Counter()
        for administrator in self.administrators:
            administrator.execute(SCHEMA.encode())
            administrator.execute(RIGHTS.format(app=role).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, steps: int) -> None:
        """That many statements, then the end of every transaction, then the tables."""
        self.install()
        for number in range(steps):
            self._between()
            self.step(number)
        for pair in self.sessions:
            for session in pair:
                session.run(Step("ROLLBACK"))
        self.compare()

    def step(self, number: int) -> None:
        plain, captured = self.current
        if plain.status != TransactionStatus.INERROR:
            tables = shapes(plain.connection)
            assert shapes(captured.connection) == tables, self._story("not the same tables")
            self.application.tables = tables or [NOTHING]
        step = self.application.step(plain.status)
        expected, got = plain.run(step), captured.run(step)
        self.recent.append(f"{number}: {step.sql[:400]}\n      {expected[:2]}")
        self.outcomes[expected.sqlstate or "00000"] += 1
        assert got == expected, self._story(f"without: {expected}\n   with: {got}")

    def install(self) -> None:
        """What `rowcast migrate` would do for the tables there are, as far as it can watch them."""
        watch(self.administrators[1], *_watchable(self.administrators[1], self.options))

    def _between(self) -> None:
        """Outside transactions now and then another session, or something happens to capture."""
        if self.current[0].status != TransactionStatus.IDLE:
            return
        roll = self.random.random()
        if roll < 0.15:
            self.current = self.random.choice(self.sessions)
        elif roll < 0.17:
            self.install()
        elif roll < 0.18:
            self.administrators[1].execute(self.random.choice(self.mishaps).encode())

    def compare(self) -> None:
        before, after = map(_contents, self.administrators)
        assert after.keys() == before.keys(), self._story("not the same tables")
        for name, rows in before.items():
            assert after[name] == rows, self._story(f"{name} does not hold the same")

    def _story(self, what: str) -> str:
        return "\n".join((f"seed {self.seed}", *self.recent, what))


def _watchable(connection: Connection[Any], options: dict[str, object]) -> Iterator[TableConfig]:
    for schema, name, partition, keyed, others in connection.execute(_TABLES).fetchall():
        if keyed and not partition:
            topics = (f"{schema}-{name}", *(f"{schema}-{name}/{{{c}}}" for c in others[:4]))
            yield entry(
                f"{schema}.{name}",
                table=(schema, name),
                topics=_speakable(topics),
                **options,
            )


def _speakable(topics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(topic.replace("Odd t", "odd") for topic in topics)


def _contents(connection: Connection[Any]) -> dict[str, Counter[str]]:
    """What each table holds, as its own text, column names included."""
    found = {}
    for schema, name, *_ in connection.execute(_TABLES).fetchall():
        rows = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier(schema, name))
        found[f"{schema}.{name}"] = Counter(text for (text,) in connection.execute(rows))
    return found


@contextmanager
def application_role(connection: Connection[Any]) -> Iterator[str]:
    """A role that may log nobody in and owns nothing; drop its databases first."""
    name = f"app_{uuid4().hex[:12]}"
    connection.execute(f"CREATE ROLE {name}".encode())
    try:
        yield name
    finally:
        connection.execute(f"DROP ROLE {name}".encode())
