"""The JavaScript client: its own tests in Node, against a real bridge; its types; its size."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING

import pytest

from bridge import __version__
from tests.support.commands import Rowcast
from tests.support.javascript import CLIENT, NODE, node, steered, with_websocket
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node found; apt install nodejs")

TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, grp text, n int)"
CONFIG = """
debounce: 10ms
tables:
  items:
    topics: [items, "items/{id}", "groups/{grp}/items"]
    columns: all
"""


AUTH = f"""
auth:
  jwt: {{secret: {SECRET}, leeway: 0}}
  allow: [{{topic: "groups/{{claims.group}}/**"}}]
"""


async def against_a_bridge(rowcast: Rowcast, database: str, file: str) -> None:
    """The tests of one file, each of which must pass and none be skipped."""
    migrated = await rowcast.run("migrate")
    assert migrated.status == 0, migrated.err
    async with steered(rowcast, database) as (_, port):
        settings = await with_websocket() | {"ROWCAST_TEST_CONTROL": str(port)}
        told = await node("--test", f"test/{file}", **settings)
    assert "# skipped 0" in told


async def test_it_keeps_what_a_real_bridge_sends(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(TABLE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    await against_a_bridge(Rowcast(tmp_path, database), database, "bridge.test.js")


async def test_it_renews_tokens(database: str, admin: psycopg.Connection, tmp_path: Path) -> None:
    admin.execute(TABLE)
    admin.execute("INSERT INTO items VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3)")
    (tmp_path / "config.yaml").write_text(CONFIG + AUTH)
    await against_a_bridge(Rowcast(tmp_path, database), database, "auth.test.js")


async def test_it_keeps_the_rules_of_the_protocol() -> None:
    assert "# skipped 0" in await node("--test", "test/rules.test.js")


def test_it_is_small() -> None:
    """Less than 3 KB compressed, without comments and blanks; a minifier makes it smaller still."""
    text = (CLIENT / "rowcast.js").read_text(encoding="utf-8")
    code = re.sub(r"^\s*//.*\n|^\s+|\s+// .*$", "", text, flags=re.MULTILINE)
    code = re.sub(r" ?([-=+<>?:,(){}&|]+) ?", r"\1", code)
    assert len(gzip.compress(code.encode(), 9)) < 3 * 1024


def test_it_has_the_version_of_the_bridge() -> None:
    assert json.loads((CLIENT / "package.json").read_text())["version"] == __version__
