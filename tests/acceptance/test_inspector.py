"""What the inspector answers over HTTP: how things stand, and why somebody did not get it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.tokens import SECRET, token
from tests.support.visitor import visiting

if TYPE_CHECKING:
    import psycopg

    from tests.support.bridges import Running

TABLE = """
CREATE TABLE goods (id int PRIMARY KEY, shelf text NOT NULL, hidden bool NOT NULL DEFAULT false);
INSERT INTO goods VALUES (1, 'a'), (2, 'b'), (3, 'a');
UPDATE goods SET hidden = id = 3;
"""
TABLES = """
  goods:
    columns: all
    topics: [goods, "goods/{id}", "shelves/{shelf}/goods"]
    where: not hidden
    debounce: 10ms
"""
AUTH = (
    f"{{jwt: {{secret: {SECRET}}}, inspect: {{role: admin}},"
    " allow: [{topic: 'shelves/{claims.shelf}/**'}]}"
)


async def why(bridge: Running, key: str, **headers: str) -> Any:
    answer = await http.get(bridge.http, f"/inspector/why?table=goods&key={key}", **headers)
    assert answer.status == 200, answer.body
    return answer.json()


async def said(bridge: Running, key: str, words: str) -> Any:
    """Ask until the answer has these words: the bridge may not have heard yet."""
    return await _until(bridge, f"table=goods&key={key}", words)


async def _until(bridge: Running, query: str, words: str) -> Any:
    async with asyncio.timeout(PATIENCE):
        while True:
            asked = await http.get(bridge.http, f"/inspector/why?{query}")
            if words in asked.json()["answer"]:
                return asked.json()


async def test_every_way_that_a_change_can_take(database: str, admin: psycopg.Connection) -> None:
    admin.execute(TABLE)
    async with running(configure(database, TABLES)) as bridge:
        admin.execute("UPDATE goods SET shelf = 'c' WHERE id = 1")
        await said(bridge, "1", "nobody followed the table")
        async with visiting(bridge.url, "goods/2") as visit:
            await visit.begin()
            admin.execute("UPDATE goods SET shelf = 'd' WHERE id = 1")
            await said(bridge, "1", "nobody followed a topic of this key")
            with admin.transaction():
                for shelf in "xyz":
                    admin.execute("UPDATE goods SET shelf = %s WHERE id = 2", [shelf])
            sent = await said(bridge, "2", "Sent as update to 1 subscriber of goods/2.")
            (seen,) = (step for step in sent["steps"] if step["kind"] == "seen")
            assert (seen["detail"], seen["times"]) == ("update", 3)
            assert sent["key"] == {"id": "2"}
            assert {"name": "goods/2", "followers": 1} in sent["topics"]
            assert {"name": "shelves/z/goods", "followers": 0} in sent["topics"]
            hidden = await why(bridge, "3")
            assert "does not meet `where`" in hidden["answer"]
            assert hidden["filters"] == ["where: not hidden"]
            assert "no such row" in (await why(bridge, "99"))["answer"]
            admin.execute("DELETE FROM goods WHERE id = 2")
            await said(bridge, "2", "Sent as delete")


async def test_an_event_is_remembered_with_who_got_it(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute("CREATE TABLE visits (id int PRIMARY KEY)")
    config = configure(database, "  visits: {mode: log, position: id, durable: true}\n")
    async with running(config) as bridge, visiting(bridge.url, "visits") as visit:
        await visit.begin()
        admin.execute("INSERT INTO visits VALUES (7)")
        words = "Sent as event to 1 subscriber of visits"
        answer = await _until(bridge, "table=visits&key=7", words)
        assert answer["topics"][0] == {"name": "visits", "followers": 1}
        status = (await http.get(bridge.http, "/inspector/status")).json()
        assert status["tables"][0]["followers"] == 1


async def test_how_things_stand(database: str, admin: psycopg.Connection) -> None:
    admin.execute(TABLE)
    config = configure(database, TABLES)
    async with (
        running(config) as bridge,
        running(config) as other,
        visiting(bridge.url, "goods") as visit,
    ):
        await visit.begin()
        admin.execute("UPDATE goods SET shelf = 'c' WHERE id = 1")
        await said(bridge, "1", "Sent as update")
        status = (await http.get(bridge.http, "/inspector/status")).json()
        (table,) = status["tables"]
        assert {"name": "goods", "key": ["id"]}.items() <= table.items()
        assert (table["topics"], table["followers"]) == (1, 1)
        assert (table["changes"], table["reads"], table["messages"]) == (1, 1, 2)
        names = {instance["name"] for instance in status["instances"]}
        assert names == {bridge.bridge.instance, other.bridge.instance}
        (subscriber,) = status["subscribers"]
        assert subscriber["peer"].startswith("127.0.0.1:")
        assert (subscriber["topics"], subscriber["unsent"], subscriber["stalled"]) == (1, 0, 0)


async def test_the_page_runs_no_script_but_its_files(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    async with running(configure(database, TABLES, auth=AUTH)) as bridge:
        assert (await http.get(bridge.http, "/")).status == 401
        page = await http.get(bridge.http, f"/?token={token()}")
        policy = page.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert b" style=" not in page.body
        assert b" onclick=" not in page.body
        for name in re.findall(rb'"(/inspector/[a-z.]+)"', page.body):
            asset = await http.get(bridge.http, name.decode())
            assert asset.status == 200, "it says nothing, and a tag cannot send a token"
            assert asset.headers["content-type"].startswith(("text/css", "text/javascript"))


async def test_a_bad_question_is_said_to_be_one(database: str, admin: psycopg.Connection) -> None:
    admin.execute(TABLE)
    async with running(configure(database, TABLES)) as bridge:
        one = "table=goods&key=1"
        for query in ("", "table=goods", f"{one}&key=2", "table=x&key=1", "table=goods&key=%00"):
            answer = await http.get(bridge.http, f"/inspector/why?{query}")
            assert (answer.status, answer.json()["code"]) == (400, "bad_message")
        assert (await why(bridge, "seven"))["row"] == "unknown"
        posted = await http.get(bridge.http, f"/inspector/why?{one}", method="OPTIONS")
        assert posted.status == 405


async def test_it_tells_of_others_whom_the_config_names(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    async with running(configure(database, TABLES, auth=AUTH)) as bridge:
        one, boss = token(shelf="b", sub="bob"), token(role="admin")
        denied = await http.get(bridge.http, "/state/shelves/a/goods", **_bearer(one))
        assert denied.status == 403
        for path in ("status", "why?table=goods&key=1"):
            assert (await http.get(bridge.http, f"/inspector/{path}")).status == 401
        refused = await http.get(bridge.http, "/inspector/why?table=goods&key=2", **_bearer(one))
        assert (refused.status, refused.json()["code"]) == (403, "forbidden")
        little = (await http.get(bridge.http, "/inspector/status", **_bearer(one))).json()
        assert (little["subscribers"], little["instances"]) == (None, [])
        found = await why(bridge, "1", **_bearer(boss))
        assert found["answer"].endswith("A token was denied one of its topics.")
        (step,) = (step for step in found["steps"] if step["kind"] == "denied")
        assert (step["topic"], step["detail"]) == ("shelves/a/goods", "bob")
        full = (await http.get(bridge.http, "/inspector/status", **_bearer(boss))).json()
        assert full["subscribers"] == []


async def test_without_the_inspector_nothing_is_remembered(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(TABLE)
    config = configure(database, TABLES)
    off = config.__class__(**{**vars(config), "server": config.server.__class__(port=0)})
    async with running(off) as bridge:
        for path in (
            "",
            "inspector/status",
            "inspector/why?table=goods&key=1",
            "inspector/page.css",
        ):
            assert (await http.get(bridge.http, f"/{path}")).status == 404
        assert bridge.bridge.hub.trace is None


def _bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}
