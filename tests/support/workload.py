"""Random transactions on one table: what an application does, and what goes wrong in one.

The table has a key that changes, a column that moves rows between topics, and a
counter that every update raises. Seeded: a seed is a history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from random import Random

TABLE = """
CREATE TABLE cells (id int PRIMARY KEY, grp int, counter int NOT NULL DEFAULT 0, note text);
INSERT INTO cells SELECT n, n % 5, 0, 'start' FROM generate_series(1, 60) n;
"""

CONFIG = """
  cells:
    topics: [cells, "cells/{id}", "groups/{grp}/cells"]
    debounce: 20ms
    max_wait: 100ms
"""

TOPICS = ["cells", *(f"cells/{n}" for n in range(1, 13)), *(f"groups/{n}/cells" for n in range(5))]


class Rollback(Exception):  # noqa: N818
    """Ends a transaction that shall not have happened."""


def transaction(connection: psycopg.Connection, random: Random) -> None:
    """One to four random statements; one transaction in six is rolled back."""
    try:
        with connection.transaction():
            for _ in range(random.randint(1, 4)):
                _guarded(connection, random)
            if random.random() < 0.17:
                raise Rollback
    except Rollback:
        pass


def _guarded(connection: psycopg.Connection, random: Random) -> None:
    """A statement in a savepoint, so that a key taken already undoes it alone."""
    try:
        with connection.transaction():
            _statement(connection, random)
            if random.random() < 0.1:
                raise Rollback
    except (Rollback, psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
        pass


def _statement(connection: psycopg.Connection, random: Random) -> None:
    n, m = random.randint(1, 80), random.randint(1, 80)
    group = random.choice([0, 1, 2, 3, 4, None])
    roll = random.random()
    if roll < 0.45:
        connection.execute("UPDATE cells SET counter = counter + 1 WHERE id = %s", (n,))
    elif roll < 0.60:
        connection.execute("INSERT INTO cells VALUES (%s, %s, 0, 'new')", (n, group))
    elif roll < 0.72:
        connection.execute("DELETE FROM cells WHERE id = %s", (n,))
    elif roll < 0.80:
        connection.execute("UPDATE cells SET id = %s WHERE id = %s", (m, n))
    elif roll < 0.92:
        connection.execute("UPDATE cells SET grp = %s WHERE id = %s", (group, n))
    elif roll < 0.96:
        connection.execute(
            "UPDATE cells SET counter = counter + 1, note = 'all' WHERE grp = %s", (group,)
        )
    elif roll < 0.99:
        connection.execute(
            "INSERT INTO cells VALUES (%s, %s, 0, 'upsert') ON CONFLICT (id) DO UPDATE"
            " SET grp = excluded.grp, counter = cells.counter + 1",
            (n, group),
        )
    else:
        connection.execute("TRUNCATE cells")
