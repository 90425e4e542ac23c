"""The JavaScript client: its own tests in Node, against a real bridge; its types; its size."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bridge import __version__
from tests.support import PATIENCE, connect, fresh_database
from tests.support.javascript import (
    CLIENT,
    NODE,
    controlled,
    install,
    link,
    node,
    package,
    steered,
    with_websocket,
)
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from tests.support import Server

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node found; apt install nodejs")

TABLES = """
CREATE TABLE items (id bigint PRIMARY KEY, grp text, n int);
INSERT INTO items VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3);
CREATE TABLE payments (id serial PRIMARY KEY, account int);
CREATE TABLE refunds (id serial PRIMARY KEY);
"""
CONFIG = """
debounce: 10ms
tables:
  items:
    topics: [items, "items/{id}", "groups/{grp}/items"]
    columns: all
"""
LOGS = """
  payments: {mode: log, topics: [payments, "payments/{account}"]}
  refunds: {mode: log}
"""
AUTH = f"""
auth:
  jwt: {{secret: {SECRET}, leeway: 0}}
  allow: [{{topic: "groups/{{claims.group}}/**"}}]
"""


FILES = {
    "bridge.test.js": CONFIG,
    "auth.test.js": CONFIG + AUTH,
    "resume.test.js": f"durable: true{CONFIG}",
    "logs.test.js": f"events: true{CONFIG}{LOGS}",
}


async def told(server: Server, directory: Path, file: str, config: str) -> str:
    """What the tests of one file print, with a bridge of their own."""
    with closing(fresh_database(server, "template0")) as databases:
        database = next(databases)
        with connect(database) as connection:
            connection.execute(TABLES)
        async with steered(directory, database, config) as bridge, controlled(bridge) as port:
            settings = await with_websocket() | {"ROWCAST_TEST_CONTROL": str(port)}
            return await node("--test", f"test/{file}", **settings)


async def test_it_keeps_what_a_real_bridge_sends(server: Server, tmp_path: Path) -> None:
    """And renews tokens, and resumes, and reads logs. Most of it is waiting: all at once."""
    for file in FILES:
        (tmp_path / file).mkdir()
    async with asyncio.TaskGroup() as group:
        files = [
            group.create_task(told(server, tmp_path / file, file, config))
            for file, config in FILES.items()
        ]
    for file in files:
        assert "# skipped 0" in file.result()


async def test_it_keeps_the_rules_of_the_protocol() -> None:
    assert "# skipped 0" in await node("--test", "test/rules.test.js", "test/stream.test.js")


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm found, which packs the client")
async def test_what_is_packed_can_be_installed_and_imported(tmp_path: Path) -> None:
    await command("npm", "pack", "--pack-destination", str(tmp_path), cwd=CLIENT)
    packed = f"rowcast-{__version__}.tgz"
    (tmp_path / "package.json").write_text('{"type": "module"}')
    await command("npm", "install", "--offline", "--no-package-lock", packed, cwd=tmp_path)
    installed = {path.name for path in (tmp_path / "node_modules" / "rowcast").iterdir()}
    ours = {path.name for path in CLIENT.glob("rowcast*")} | {"README.md", "package.json"}
    assert installed == ours
    (tmp_path / "main.js").write_text("""
        import {connect} from "rowcast";
        import {liveQuery} from "rowcast/query";
        console.log(connect("/").status, liveQuery(connect("/"), "a/{b}", {b: "ü"}).queryKey[1]);
    """)
    assert await node(str(tmp_path / "main.js")) == "idle a/%C3%BC\n"
    if package("react") is not None:
        link(tmp_path / "node_modules", "react", "loose-envify", "js-tokens")
        (tmp_path / "hooks.js").write_text("""
            import * as hooks from "rowcast/react";
            console.log(Object.keys(hooks).join());
        """)
        linked = ("--preserve-symlinks", "--preserve-symlinks-main", str(tmp_path / "hooks.js"))
        assert await node(*linked) == "LiveProvider,useLive,useRow,useRows,useTopicError\n"


async def command(*arguments: str, cwd: Path) -> None:
    quiet = os.environ | {"npm_config_update_notifier": "false", "npm_config_audit": "false"}
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=cwd, env=quiet, stdout=PIPE, stderr=STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


QUERY = package("@tanstack/query-core")


@pytest.mark.skipif(
    QUERY is None, reason="no @tanstack/query-core; `npm install --no-package-lock` in clients/js"
)
async def test_it_feeds_the_cache_of_tanstack_query(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(TABLES)
    install(tmp_path, "@tanstack/query-core")
    program = shutil.copy(CLIENT / "test" / "query.mjs", tmp_path)
    async with steered(tmp_path, database, CONFIG) as serving:
        process = await asyncio.create_subprocess_exec(
            *(str(NODE), "--preserve-symlinks", "--preserve-symlinks-main", program),
            serving.address,
            stdout=PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                assert await process.stdout.readline() == b"ready\n"
                admin.execute("UPDATE items SET n = 1")
                assert (await process.stdout.read()).decode().endswith("done\n")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def test_it_is_small() -> None:
    """Less than 3 KB compressed, without comments and blanks; a minifier makes it smaller still."""
    text = (CLIENT / "rowcast.js").read_text(encoding="utf-8")
    code = re.sub(r"^\s*//.*\n|^\s+|\s+// .*$", "", text, flags=re.MULTILINE)
    code = re.sub(r" ?([-=+<>?:,(){}&|]+) ?", r"\1", code)
    assert len(gzip.compress(code.encode(), 9)) < 3 * 1024


def test_it_has_the_version_of_the_bridge() -> None:
    assert json.loads((CLIENT / "package.json").read_text())["version"] == __version__
