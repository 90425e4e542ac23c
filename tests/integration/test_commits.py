"""Measuring commits needs no rights, leaves nothing, and is about commits that wait."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bridge.commits import WRITERS, measure, said
from bridge.errors import DatabaseError
from tests.support.capture import config, entry
from tests.support.commands import Rowcast
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection


@pytest.fixture
def stranger(admin: Connection, database: str) -> Iterator[str]:
    """The database as a role that may do nothing but connect."""
    role = sql.Identifier(name := f"stranger_{uuid4().hex[:8]}")
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
    yield make_conninfo(database, user=name, password="x")
    admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_it_measures_with_no_rights_and_leaves_nothing(stranger: str, admin: Connection) -> None:
    before, written = fingerprint(admin), position(admin)
    found = measure(config(entry("items"), database=stranger), seconds=0.2)
    assert [found.alone.writers, found.crowd.writers] == [1, WRITERS]
    assert [found.alone_ringing.writers, found.crowd_ringing.writers] == [1, WRITERS]
    assert min(rate.commits for rate in found[:4]) > 0
    # Each commit is a message and a commit record, which the test's server writes at once.
    assert position(admin) - written >= 60 * found.commits
    assert fingerprint(admin) == before
    assert found.slots == 0
    assert any("commits by 8 sessions" in line for line in said(found))


def position(connection: Connection) -> int:
    """Bytes of WAL."""
    ((bytes_,),) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    return int(bytes_)


def test_where_there_is_no_database_it_says_so_without_the_password() -> None:
    nowhere = config(entry("items"), database="postgresql://app:hush@127.0.0.1:1/app")
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:1") as caught:
        measure(replace(nowhere))
    assert "hush" not in str(caught.value)


async def test_the_command(database: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("tables:\n  items:\n")
    done = await Rowcast(tmp_path, database).run("check", "--bench")
    assert done.status == 0, done.err
    for part in ("without NOTIFY", "with NOTIFY", "8 writers", "Done to the database", "durable"):
        assert part in done.out
    assert max(map(len, done.out.splitlines())) <= 100
