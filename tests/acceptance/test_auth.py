"""Who may see what, over a real socket: every way a token comes, every way it ends."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge import migrate
from bridge.backoff import Backoff
from bridge.client import Client, Lost, Snapshot, Subscribed
from bridge.errors import BridgeError
from bridge.wire import CloseCode
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.events import streaming
from tests.support.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import psycopg

    from tests.support.bridges import Running

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, status text NOT NULL);
INSERT INTO orders VALUES (1, 'a', 'placed'), (2, 'b/c', 'paid'), (3, 'all', 'paid');
"""
TABLES = """
  orders:
    columns: all
    topics: [orders, "orders/{id}", "customers/{customer}/orders"]
  everything:
    table: orders
    columns: all
    topics: ["customers/all/orders"]
"""
AUTH = (
    f"{{jwt: {{secret: {SECRET}}}, allow: [{{topic: 'customers/{{claims.customer}}/**'}},"
    " {topic: 'orders/**', when: {role: [admin, support]}}], inspect: {role: boss}}"
)


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    async with running(configure(database, TABLES, auth=AUTH)) as bridge:
        yield bridge


class Raw:
    """A raw client: sends commands, reads messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, type: str, **fields: object) -> None:  # noqa: A002
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.connection.recv())

    async def subscribe(self, topic: str) -> dict[str, Any]:
        """The snapshot, or the error."""
        await self.send("subscribe", topic=topic)
        first = await self.next()
        return first if first["type"] == "error" else await self.next()

    async def end(self) -> int:
        """The code that the connection is closed with; what comes before is passed over."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@asynccontextmanager
async def client(bridge: Running, query: str = "", **options: Any) -> AsyncIterator[Raw]:
    async with connect(bridge.url + query, **options) as connection:
        yield Raw(connection)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


WAYS = {
    "header": lambda text: {"additional_headers": bearer(text)},
    "header in lower case": lambda text: {
        "additional_headers": {"authorization": f"bearer {text}"}
    },
    "subprotocol": lambda text: {"subprotocols": [f"bearer.{text}"]},
    "subprotocols": lambda text: {"subprotocols": ["rowcast", f"bearer.{text}"]},
    "query": lambda text: {"query": f"?token={text}"},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_token_comes_in_any_way(bridge: Running, way: Any) -> None:
    options = way(token(customer="a"))
    async with client(bridge, **options) as one:
        assert (await one.next())["type"] == "welcome"
        rows = (await one.subscribe("customers/a/orders"))["rows"]
        assert [entry["key"]["id"] for entry in rows] == [1]
        offered = options.get("subprotocols", [None])
        assert one.connection.subprotocol == offered[0]
    async with client(bridge, **way(token(customer="a", exp=1))) as expired:
        assert await expired.end() == 4401
    async with client(bridge, **way(token("another secret of more than 32 bytes"))) as bad:
        assert await bad.end() == 4500


async def test_a_token_comes_as_the_first_message(bridge: Running) -> None:
    async with client(bridge) as one:
        assert (await one.next())["type"] == "welcome"
        error = await one.subscribe("customers/a/orders")
        assert (error["code"], error["topic"]) == ("unauthenticated", "customers/a/orders")
        await one.send("ping")
        assert (await one.next())["type"] == "pong"
        expires = int(time.time()) + 100
        await one.send("auth", token=token(customer="a", exp=expires))
        assert await one.next() == {"type": "authenticated", "expires": expires + 10}
        assert (await one.subscribe("customers/a/orders"))["type"] == "snapshot"


async def test_two_tokens_are_one_too_many(bridge: Running) -> None:
    good = token(customer="a")
    async with client(bridge, f"?token={good}", additional_headers=bearer(good)) as one:
        assert await one.end() == 4500
    answer = await http.get(bridge.http, f"/state/orders?token={good}&token={good}")
    assert answer.status == 401


@pytest.mark.parametrize("sent", [{}, {"token": None}, {"token": ""}, {"token": ["x"]}])
async def test_an_auth_without_a_token_is_a_bad_message(
    bridge: Running, sent: dict[str, object]
) -> None:
    async with client(bridge) as one:
        await one.next()
        await one.send("auth", **sent)
        error = await one.next()
        assert error["code"] == "bad_message"


async def test_a_bad_token_ends_the_connection(bridge: Running) -> None:
    async with client(bridge, **WAYS["query"](token(customer="a"))) as one:
        await one.send("auth", token="x" * 9000)
        assert await one.end() == 4500


DENIED = [
    "orders",
    "orders/1",
    "customers",
    "customers/b%2Fc/orders",
    "customers/A/orders",
    "customers/%61/orders",
    "customers/a%2F..%2Fb/orders",
    "customers/a/../b/orders",
    "customers//orders",
    "/customers/a/orders",
    "nothing",
    "",
]


@pytest.mark.parametrize("topic", [topic for topic in DENIED if topic])
async def test_what_no_rule_allows_is_forbidden(bridge: Running, topic: str) -> None:
    async with client(bridge, **WAYS["header"](token(customer="a"))) as one:
        await one.next()
        error = await one.subscribe(topic)
        if topic.startswith("customers/a/"):
            assert error["code"] == "unknown_topic", "allowed by its name, and there is none"
        else:
            assert (error["code"], error["topic"]) == ("forbidden", topic)
        assert "{" not in error["message"] or error["code"] == "unknown_topic"


async def test_a_tenant_named_like_a_literal_gets_nothing_by_it(bridge: Running) -> None:
    async with client(bridge, **WAYS["header"](token(customer="all"))) as one:
        await one.next()
        assert (await one.subscribe("customers/all/orders"))["code"] == "forbidden"


async def test_another_config_is_decided_about_anew(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    before, after = TABLES.partition("  everything:")[0], TABLES
    async with (
        running(configure(database, before, auth=AUTH)) as bridge,
        client(bridge, **WAYS["header"](token(customer="all"))) as one,
    ):
        await one.next()
        rows = (await one.subscribe("customers/all/orders"))["rows"]
        assert [entry["key"]["id"] for entry in rows] == [3]
        new = configure(database, after, auth=AUTH)
        await asyncio.to_thread(migrate.apply, new, progress=lambda _line: None)
        bridge.bridge.reload(lambda: new)
        messages = [await one.next()]
        while messages[-1]["type"] != "unsubscribed":
            messages.append(await one.next())
        assert messages[-2]["code"] == "forbidden"
        assert not [m for m in messages if "rows" in m or "row" in m]


async def test_values_are_compared_as_topics_spell_them(bridge: Running) -> None:
    async with client(bridge, **WAYS["header"](token(customer=["x", "b/c"]))) as one:
        await one.next()
        rows = (await one.subscribe("customers/b%2Fc/orders"))["rows"]
        assert [entry["key"]["id"] for entry in rows] == [2]
        for topic in ("customers/b/c/orders", "customers/b%2fc/orders"):
            assert (await one.subscribe(topic))["code"] == "forbidden"


async def test_a_role(bridge: Running) -> None:
    async with client(bridge, **WAYS["header"](token(role="support"))) as one:
        await one.next()
        assert len((await one.subscribe("orders"))["rows"]) == 3
        assert (await one.subscribe("orders/2"))["type"] == "snapshot"
        assert (await one.subscribe("customers/a/orders"))["code"] == "forbidden"


async def test_another_token_is_decided_about_anew(
    bridge: Running, admin: psycopg.Connection
) -> None:
    first = token(sub="u", customer=["a", "b/c"])
    async with client(bridge, **WAYS["header"](first)) as one:
        await one.next()
        await one.subscribe("customers/a/orders")
        await one.subscribe("customers/b%2Fc/orders")
        await one.send("auth", token=token(sub="u", customer="a"))
        assert (await one.next())["type"] == "authenticated"
        error = await one.next()
        assert (error["code"], error["topic"]) == ("forbidden", "customers/b%2Fc/orders")
        admin.execute("UPDATE orders SET status = 'x' WHERE customer = 'b/c'")
        admin.execute("UPDATE orders SET status = 'y' WHERE customer = 'a'")
        change = await one.next()
        assert (change["topic"], change["row"]["status"]) == ("customers/a/orders", "y")
        await one.send("auth", token=token(sub="somebody else", customer="a"))
        assert await one.end() == 4500


async def test_a_token_that_expires_ends_the_connection(
    bridge: Running, admin: psycopg.Connection
) -> None:
    soon = int(time.time()) - 10 + 3  # the leeway is 10 s
    async with (
        client(bridge, **WAYS["header"](token(customer="a", exp=soon))) as lapsing,
        client(bridge, **WAYS["header"](token(customer="a", exp=soon))) as renewed,
        streaming(bridge.http, "customers/a/orders", token=token(customer="a", exp=soon)) as stream,
    ):
        for one in (lapsing, renewed):
            await one.next()
            assert (await one.subscribe("customers/a/orders"))["type"] == "snapshot"
        await renewed.send("auth", token=token(customer="a"))
        assert (await renewed.next())["type"] == "authenticated"
        assert await lapsing.end() == 4401
        with pytest.raises(EOFError):
            await stream.until("change")
        assert any("4401" in comment for comment in stream.parser.comments)
        admin.execute("UPDATE orders SET status = 'later' WHERE id = 1")
        assert (await renewed.next())["row"]["status"] == "later"


async def test_who_sends_no_token_is_not_kept(database: str, admin: psycopg.Connection) -> None:
    admin.execute(ORDERS)
    config = configure(database, TABLES, auth=AUTH, limits="{unauthenticated: 100ms}")
    async with running(config) as bridge, client(bridge) as one:
        assert await one.end() == 4401


# Plain HTTP


async def test_a_stream_needs_a_token(bridge: Running) -> None:
    for path in ("/sse?topic=customers/a/orders", "/state/customers/a/orders"):
        answer = await http.get(bridge.http, path)
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="rowcast"'
        answer = await http.get(bridge.http, path, Authorization="Bearer x.y.z")
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        answer = await http.get(bridge.http, path, **bearer(token(customer="b")))
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
        answer = await http.get(bridge.http, path, method="OPTIONS")
        assert answer.status == 204
    assert bridge.bridge.hub.subscribers == 0


async def test_a_stream_has_what_its_token_allows(bridge: Running) -> None:
    good = token(customer="a")
    async with streaming(bridge.http, "customers/a/orders", "orders/2", token=good) as stream:
        error = (await stream.until("error")).json()
        assert (error["code"], error["topic"]) == ("forbidden", "orders/2")
        snapshot = (await stream.until("snapshot")).json()
        assert snapshot["topic"] == "customers/a/orders"
    answer = await http.get(bridge.http, "/state/customers/a/orders", **bearer(good))
    assert [entry["key"]["id"] for entry in answer.json()["rows"]] == [1]


async def test_what_is_open_and_what_is_not(bridge: Running) -> None:
    good = token(customer="a")
    for path in ("/healthz", "/metrics", "/readyz"):
        assert (await http.get(bridge.http, path)).status == 200
    for path in ("/", "/inspector/topics"):
        assert (await http.get(bridge.http, path)).status == 401
        assert (await http.get(bridge.http, f"{path}?token={good}")).status == 200
    bridge.bridge.health.fail("secret", "a reason with names in it")
    assert (await http.get(bridge.http, "/readyz")).json() == {"ready": False, "reasons": []}
    for path in ("/readyz", "/inspector/status"):
        known = await http.get(bridge.http, path, **bearer(good))
        assert known.json()["reasons"] == []
        boss = await http.get(bridge.http, path, **bearer(token(role="boss")))
        assert boss.json()["reasons"] == ["a reason with names in it"]


async def test_refusals_are_counted(bridge: Running) -> None:
    await http.get(bridge.http, "/state/orders", Authorization="Bearer x")
    await http.get(bridge.http, "/state/orders", **bearer(token(customer="a")))
    text = (await http.get(bridge.http, "/metrics")).body.decode()
    assert "\nrowcast_unauthenticated_total 1.0\n" in text
    assert "\nrowcast_forbidden_total 1.0\n" in text


async def test_without_auth_a_token_is_of_no_account(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    async with running(configure(database, TABLES)) as bridge, client(bridge, "?token=x") as one:
        await one.next()
        await one.send("auth", token="y")
        assert await one.next() == {"type": "authenticated"}
        assert (await one.subscribe("orders"))["type"] == "snapshot"


# The client for Python


async def test_the_client_asks_for_a_token_at_every_connection(bridge: Running) -> None:
    made = []

    async def fresh() -> str:
        made.append(token(customer="a", jti=str(len(made))))
        return made[-1]

    async with Client(bridge.http, fresh, backoff=lambda: Backoff(first=0.01, cap=0.1)) as one:
        messages = one.follow("customers/a/orders")
        kinds = [type(await anext(messages)) for _ in range(2)]
        for mailbox in list(bridge.bridge.hub.mailboxes):
            mailbox.sink.end(CloseCode.TOKEN_EXPIRED, "as if its time were over")
        kinds += [type(await anext(messages)) for _ in range(3)]
    assert kinds == [Subscribed, Snapshot, Lost, Subscribed, Snapshot]
    assert len(made) == 2


async def test_the_client_gives_up_with_a_bad_token(bridge: Running) -> None:
    async with Client(bridge.http, "bad") as one:
        with pytest.raises(BridgeError, match="closed for good: 4500"):
            await anext(one.follow("orders"))


async def test_tail_has_a_token(bridge: Running, tmp_path: Path) -> None:
    rowcast = Rowcast(tmp_path, "postgresql://")
    rowcast.environment["ROWCAST_TOKEN"] = token(customer="a")
    tail = rowcast.running("tail", "customers/a/orders", "--url", bridge.http)
    async with tail as process, asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        lines = [json.loads(await process.stdout.readline()) for _ in range(3)]
    assert [line["type"] for line in lines] == ["welcome", "subscribed", "snapshot"]
