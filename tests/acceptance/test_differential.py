"""Nothing an application sees tells it that its tables are watched, whatever it does to them.

The same seeded history of DDL, writes, settings and transactions runs on two databases,
and every outcome must be the same. ROWCAST_DIFFERENTIAL_STEPS makes the histories longer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support import connect, fresh_database
from tests.support.capture import Ear
from tests.support.differential import Pair, application_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import Server

STEPS = int(os.environ.get("ROWCAST_DIFFERENTIAL_STEPS", "200"))


@pytest.fixture
def role(server: Server) -> Iterator[str]:
    with connect(server.url()) as connection, application_role(connection) as name:
        yield name


@pytest.fixture
def twin(role: str, server: Server, template: str) -> Iterator[str]:
    yield from fresh_database(server, template)


@pytest.mark.timeout(300 + STEPS)
@pytest.mark.parametrize("durable", [False, True], ids=["notify", "durable"])
@pytest.mark.parametrize("seed", range(1, 5))
def test_capture_changes_nothing(
    role: str, database: str, twin: str, seed: int, durable: bool
) -> None:
    audited = seed > 2
    with (
        connect(database) as listening,
        Pair(twin, database, role, seed, durable=durable, audited=audited) as pair,
    ):
        ear = Ear(listening, {})
        pair.run(STEPS)
        heard = ear.payloads()
        trail = "SELECT count(*) FROM rowcast.audit" if audited else "SELECT 1"
        with suppress(psycopg.errors.UndefinedTable):  # it gets lost, too
            assert pair.administrators[1].execute(trail).fetchone() != (0,)
    succeeded = pair.outcomes["00000"]
    assert succeeded > STEPS / 3
    # Where the store gets lost, nothing rings until the next migration.
    assert len(heard) > STEPS / (100 if durable else 20)
