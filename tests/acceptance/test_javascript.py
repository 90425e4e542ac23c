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
"""


async def test_it_keeps_what_a_real_bridge_sends(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(TABLE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    rowcast = Rowcast(tmp_path, database)
    assert (await rowcast.run("migrate")).status == 0
    async with steered(rowcast, database) as (_, port):
        settings = await with_websocket() | {"ROWCAST_TEST_CONTROL": str(port)}
        print(await node("--test", "test/bridge.test.js", **settings))


async def test_it_keeps_the_rules_of_the_protocol() -> None:
    print(await node("--test", "test/rules.test.js"))


def test_it_is_small() -> None:
    """Less than 3 KB compressed, without comments and blanks; a minifier makes it smaller still."""
    text = (CLIENT / "rowcast.js").read_text(encoding="utf-8")
    code = re.sub(r"^\s*//.*\n|^\s+|\s+// .*$", "", text, flags=re.MULTILINE)
    code = re.sub(r" ?([-=+<>?:,(){}&|]+) ?", r"\1", code)
    assert len(gzip.compress(code.encode(), 9)) < 3 * 1024


def test_it_has_the_version_of_the_bridge() -> None:
    assert json.loads((CLIENT / "package.json").read_text())["version"] == __version__
