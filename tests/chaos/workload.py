"""Writers: random transactions at a given rate.

A writer is a thread with a session of its own. `pause` returns between two transactions of
each. A write may fail for what the application did itself (a key that is taken, a
deadlock), or for a database that a fault took away while it ran; any other failure is one
that capture caused, and is kept in `failures`.
"""

from __future__ import annotations

import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg

from tests.chaos.schema import ENTRIES, GROUPS, NEVER, identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.journal import Journal, Outage
    from tests.chaos.schema import Schema, Table

# The last is what PostgreSQL says of a row that another transaction moved to another partition.
_OWN = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


class Rollback(Exception):  # noqa: N818
    """Ends a transaction or savepoint that shall not have happened."""


class Writer(threading.Thread):
    """Writes to where `url` says until `stop`; one transaction at a time holds `gate`."""

    def __init__(
        self,
        url: Callable[[], str],
        schema: Schema,
        seed: str,
        rate: float,
        journal: Journal,
        outage: Outage,
    ) -> None:
        super().__init__(name=f"writer {seed}", daemon=True)
        self._url = url
        self._random = Random(seed)
        self._schema = schema
        self._rate = rate
        self._journal = journal
        self._outage = outage
        self.gate = threading.Lock()
        self.failures: list[str] = []
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with psycopg.connect(self._url(), autocommit=True, connect_timeout=5) as session:
                    while not self._stopping.is_set():
                        due = max(due, time.monotonic() - 3)
                        began = time.monotonic()
                        with self.gate:
                            began = time.monotonic()
                            due += (
                                Transaction(session, self._schema, self._random, self._journal)()
                                / self._rate
                            )
                        self._stopping.wait(max(0, due - time.monotonic()))
            except psycopg.Error as error:
                if not self._outage.explains(began):
                    self.failures.append(f"{type(error).__name__}: {error}")
                self._stopping.wait(0.05)


class Transaction:
    """One to four random statements; one in six transactions is rolled back."""

    def __init__(
        self, session: psycopg.Connection, schema: Schema, random: Random, journal: Journal
    ) -> None:
        self._session = session
        self._random = random
        self._schema = schema
        self._journal = journal
        self._doomed = random.random() < 0.17
        self._log: list[tuple[str, str]] = []

    def __call__(self) -> int:
        """Run it; returns how many writes were committed."""
        count = self._random.randint(1, 4)
        try:
            with self._session.transaction():
                for _ in range(count):
                    self._guarded()
                if self._doomed:
                    raise Rollback
        except Rollback:
            self._journal.kinds["rollbacks"] += 1
        except psycopg.errors.DeadlockDetected:
            pass
        else:
            return self._committed()
        return 0

    def _committed(self) -> int:
        self._journal.writes += len(self._log)
        for place, text in self._log:
            self._journal.note(place, text)
        return len(self._log)

    def _guarded(self) -> None:
        """A statement in a savepoint, so that a key that is taken undoes it alone."""
        before, hopeless = len(self._log), self._random.random() < 0.1
        try:
            with self._session.transaction():
                self._statement(NEVER if hopeless or self._doomed else f"w{self._random.random()}")
                if hopeless:
                    raise Rollback
        except (Rollback, *_OWN):
            del self._log[before:]
        except psycopg.errors.CheckViolation as error:
            if "no partition" not in str(error):
                raise
            del self._log[before:]

    def _statement(self, note: str) -> None:
        if self._random.random() < 0.15:
            self._append(note)
            return
        table = self._random.choice(self._schema.tables)
        if table.child and self._random.random() < 0.4:
            self._child(table, table.child, note)
            return
        kinds: list[Callable[[Table, str], None]] = list(_WEIGHTS)
        kind = self._random.choices(kinds, list(_WEIGHTS.values()))[0]
        kind(self, table, note)  # type: ignore[call-arg,arg-type]

    def _do(self, kind: str, table: str, key: object, statement: str, *values: object) -> None:
        changed = self._session.execute(statement, values).rowcount
        if changed:
            place = table if key is None else f"{table} {key}"
            self._log.append((place, f"{kind} {changed} {statement} {values}"))
        self._journal.kinds[kind] += 1

    def _key(self, table: Table) -> tuple[Any, ...]:
        return self._random.choice(table.keys)

    def _update(self, table: Table, note: str) -> None:
        key = self._key(table)
        statement = (
            f"UPDATE {table.name} SET counter = counter + 1, note = %s WHERE {_match(table)}"
        )
        self._do("updates", table.name, _name(table, key), statement, note, *key)

    def _extra(self, table: Table, note: str) -> None:
        key, extra = self._key(table), self._random.choice(table.extras)
        statement = (
            f"UPDATE {table.name} SET counter = counter + 1, note = %s, extra = %s"
            f" WHERE {_match(table)}"
        )
        self._do("updates", table.name, _name(table, key), statement, note, extra, *key)

    def _move(self, table: Table, note: str) -> None:
        key, group = self._key(table), self._random.choice([*GROUPS, None])
        statement = (
            f"UPDATE {table.name} SET counter = counter + 1, note = %s, grp = %s"
            f" WHERE {_match(table)}"
        )
        self._do("moves", table.name, _name(table, key), statement, note, group, *key)

    def _rekey(self, table: Table, note: str) -> None:
        old, new = self._key(table), self._key(table)
        setters = ", ".join(f"{column} = %s" for column in table.key)
        statement = (
            f"UPDATE {table.name} SET counter = counter + 1, note = %s, {setters}"
            f" WHERE {_match(table)}"
        )
        self._do("key changes", table.name, _name(table, old), statement, note, *new, *old)

    def _insert(self, table: Table, note: str) -> None:
        self._do("inserts", table.name, *self._inserting(table, note, ""))

    def _upsert(self, table: Table, note: str) -> None:
        clause = (
            f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE"
            f" SET counter = {table.name}.counter + 1, note = excluded.note, grp = excluded.grp"
        )
        self._do("upserts", table.name, *self._inserting(table, note, clause))

    def _inserting(self, table: Table, note: str, clause: str) -> tuple[object, ...]:
        key = self._key(table)
        places = ", ".join(["%s"] * len(key))
        statement = (
            f"INSERT INTO {table.name} VALUES ({places}, %s, 0, nextval('births'), %s, %s){clause}"
        )
        group, extra = self._random.choice([*GROUPS, None]), self._random.choice(table.extras)
        return _name(table, key), statement, *key, group, note, extra

    def _delete(self, table: Table, _note: str) -> None:
        key = self._key(table)
        statement = f"DELETE FROM {table.name} WHERE {_match(table)}"
        self._do("deletes", table.name, _name(table, key), statement, *key)

    def _bulk(self, table: Table, note: str) -> None:
        statement = f"UPDATE {table.name} SET counter = counter + 1, note = %s"
        if self._random.random() < 0.8:
            statement += f" WHERE grp = {self._random.choice(GROUPS)}"
        self._do("bulk statements", table.name, None, statement, note)

    def _empty(self, table: Table, _note: str) -> None:
        if self._random.random() < 0.5:
            self._do("bulk statements", table.name, None, f"DELETE FROM {table.name} WHERE grp = 1")
        else:
            self._session.execute(f"TRUNCATE {table.name}")
            self._log.append((table.name, "TRUNCATE"))
            self._journal.kinds["truncates"] += 1

    def _append(self, note: str) -> None:
        """Rows of the log, of which some have a number that was taken early, or any at all."""
        group, roll = self._random.choice(GROUPS), self._random.random()
        number: int | None = None
        if roll < 0.2:
            (number,) = self._session.execute("SELECT nextval('numbers')").fetchone() or (0,)
            self._session.execute("SELECT pg_sleep(random() * 0.01)")
        elif roll < 0.4:
            number = -self._random.randrange(1, 2**50)
        statement = f"INSERT INTO {ENTRIES} (grp, note) SELECT %s, %s FROM generate_series(1, %s)"
        values: tuple[object, ...] = (group, note, self._random.choice([1, 1, 1, 3]))
        if number is not None:
            statement = f"INSERT INTO {ENTRIES} VALUES (%s, %s, %s)"
            values = (number, group, note)
        self._do("log rows", ENTRIES, number, statement, *values)
        if self._random.random() < 0.03:
            self._session.execute("SELECT pg_sleep(random() * 0.4)")

    def _child(self, table: Table, child: str, note: str) -> None:
        n, (owner, *_) = self._random.randint(1, 60), self._key(table)
        roll = self._random.random()
        if roll < 0.4:
            statement, values = f"INSERT INTO {child} VALUES (%s, %s, %s)", (n, owner, note)
        elif roll < 0.7:
            statement, values = (
                f"UPDATE {child} SET owner = %s, note = %s WHERE id = %s",
                (owner, note, n),
            )
        else:
            statement, values = f"DELETE FROM {child} WHERE id = %s", (n,)
        self._do("lines", table.name, None, statement, *values)


_WEIGHTS = {
    Transaction._update: 40,
    Transaction._extra: 8,
    Transaction._move: 12,
    Transaction._rekey: 8,
    Transaction._insert: 18,
    Transaction._upsert: 5,
    Transaction._delete: 8,
    Transaction._bulk: 2,
    Transaction._empty: 0.5,
}


def _match(table: Table) -> str:
    return " AND ".join(f"{column} = %s" for column in table.key)


def _name(table: Table, key: tuple[Any, ...]) -> str:
    return identity(dict(zip(table.key, key, strict=True)))
