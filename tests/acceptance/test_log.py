"""The log: lines for people on a terminal, JSON elsewhere, and never more than can be read."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from typing import TYPE_CHECKING

from bridge.flood import BURST
from tests.support import PATIENCE, http
from tests.support.commands import ROWCAST, Rowcast

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

CONFIG = "tables:\n  items:\n"


async def test_elsewhere_it_is_json_and_refused_clients_do_not_flood_it(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("CREATE TABLE items (id int PRIMARY KEY)")
    (tmp_path / "config.yaml").write_text(CONFIG)
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    async with rowcast.serving() as serving:
        for n in range(3 * BURST):
            answer = await http.get(serving.address, "/ws", Origin=f"http://evil{n}.example")
            assert answer.status == 403
        serving.process.terminate()
        _, err = await serving.process.communicate()
    lines = [json.loads(line) for line in err.decode().splitlines()]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    refused = [line["origin"] for line in lines if line["event"] == "origin refused"]
    # On a slow machine minutes may pass, and each lets others through.
    assert BURST <= len(refused) < 3 * BURST
    assert refused[0] == "http://evil0.example"


async def test_on_a_terminal_it_is_for_people(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    ours, theirs = pty.openpty()
    command = [*ROWCAST, "serve", "--port", "0"]
    environment = {**os.environ, "DATABASE_URL": "postgresql://app@127.0.0.1:1/app"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=theirs
    )
    try:
        async with asyncio.timeout(PATIENCE):
            shown = await asyncio.to_thread(_until, ours, b"database unreachable")
    finally:
        process.kill()
        await process.wait()
        os.close(ours)
        os.close(theirs)
    assert re.search(r"^\d\d:\d\d:\d\d warning database unreachable  reason=", shown.decode())


def _until(terminal: int, said: bytes) -> bytes:
    shown = b""
    while said not in shown or not shown.endswith(b"\n"):
        shown += os.read(terminal, 65_536)
    return shown
