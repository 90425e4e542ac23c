"""A database that nobody here designed: pgbench's, from `init` to `tail`, by the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import PATIENCE
from tests.support.commands import Rowcast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from bridge.demo.postgres import Binaries


@pytest.fixture
def pgbench(binaries: Binaries, database: str) -> Pgbench:
    return Pgbench(binaries.path("pgbench"), database)


class Pgbench:
    def __init__(self, binary: Path, database: str) -> None:
        self.binary = binary
        self.database = database

    def __call__(self, *arguments: str) -> None:
        command = [str(self.binary), *arguments, self.database]
        subprocess.run(command, check=True, capture_output=True)


async def test_from_init_to_tail(
    pgbench: Pgbench, database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    await asyncio.to_thread(pgbench, "--initialize", "--quiet")
    rowcast = Rowcast(tmp_path, database)
    assert (await rowcast.run("init")).status == 0
    config = (tmp_path / "config.yaml").read_text()
    reason, _, left_out = config.partition("# Left out:")[2].partition("apart (add one): ")
    assert "without a primary key" in reason
    assert left_out.strip() == "public.pgbench_history"
    assert 'topics: ["pgbench_accounts/{aid}"]' in config
    unready = await rowcast.run("check")
    assert unready.status == 3
    assert "rowcast migrate" in unready.out
    assert (await rowcast.run("migrate")).status == 0
    checked = await rowcast.run("check")
    assert (checked.status, checked.err) == (0, "")
    async with rowcast.serving() as serving:
        topics = ["pgbench_branches/1", "pgbench_tellers"]
        async with rowcast.running("tail", "--url", serving.address, *topics) as tail:
            held = await _fold(tail, until=lambda held: len(held) == 2)
            await asyncio.to_thread(pgbench, "--client=4", "--transactions=200")
            expected = {
                "pgbench_branches/1": _rows(admin, "pgbench_branches", "bid"),
                "pgbench_tellers": _rows(admin, "pgbench_tellers", "tid"),
            }
            await _fold(tail, held, until=lambda held: held == expected)
        assert await serving.stop() == 0
    assert (await rowcast.run("migrate", "--remove")).status == 0
    left = admin.execute("SELECT count(*) FROM pg_trigger WHERE tgname ~ 'rowcast'").fetchone()
    assert left == (0,)


def _rows(connection: psycopg.Connection, table: str, key: str) -> dict[int, dict]:
    found = connection.execute(f"SELECT {key}, to_jsonb(t) FROM {table} t").fetchall()
    return dict(found)


Held = dict[str, dict[int, dict]]


async def _fold(
    tail: asyncio.subprocess.Process,
    held: Held | None = None,
    *,
    until: Callable[[Held], bool],
) -> Held:
    """Read lines of `tail` into rows by topic and key until the condition holds."""
    held = {} if held is None else held
    assert tail.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while not until(held):
            message = json.loads(await tail.stdout.readline())
            if message["type"] == "snapshot":
                held[message["topic"]] = {_key(e): e["row"] for e in message["rows"]}
            elif message["type"] == "change":
                held[message["topic"]][_key(message)] = message["row"]
    return held


def _key(message: dict) -> int:
    (value,) = message["key"].values()
    return value
