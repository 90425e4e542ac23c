"""docs/asyncapi.yaml: whole in itself, of one mind with the code, and true of a real bridge."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import yaml
from websockets.asyncio.client import connect

from bridge import wire
from bridge.wire import ErrorCode
from tests.support import PATIENCE
from tests.support.commands import Rowcast
from tests.support.events import streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg

ROOT = Path(__file__).parents[2]
API = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text(encoding="utf-8"))
TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, n numeric);
CREATE TABLE payments (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
INSERT INTO orders VALUES (1, 1.50), (2, NULL);
"""
CONFIG = "tables:\n  orders: {durable: true}\n  payments: {mode: log}\n"

Message = dict[str, Any]


def schema(name: str) -> Message:
    """A message's schema, strict: what the bridge sends has no field that is not described."""
    found: Message = copy.deepcopy(API["components"]["messages"][name]["payload"])
    return found | {"additionalProperties": False, "components": API["components"]}


def check(message: Message) -> None:
    jsonschema.validate(message, schema(message["type"]), jsonschema.Draft202012Validator)


def names(operation: str) -> set[str]:
    return {one["$ref"].rpartition("/")[2] for one in API["operations"][operation]["messages"]}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
        part = list(part.values())
    for one in part if isinstance(part, list) else []:
        yield from references(one)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(API):
        found = API
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, reference
            found = found[step]


def test_examples_are_what_they_are_examples_of() -> None:
    for name, message in API["components"]["messages"].items():
        jsonschema.Draft202012Validator.check_schema(schema(name))
        for example in message["examples"]:
            assert example["payload"]["type"] == name
            check(example["payload"])


def test_the_codes_are_the_wires() -> None:
    assert API["components"]["schemas"]["ErrorCode"]["enum"] == [str(code) for code in ErrorCode]
    assert API["info"]["version"] == str(wire.PROTOCOL)


def test_the_commands_are_those_that_are_understood() -> None:
    for name in names("command"):
        for example in API["components"]["messages"][name]["examples"]:
            wire.parse(json.dumps(example["payload"]))


# What a client asks, or a statement does, and the last message that comes of it.
END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
CAUSES: tuple[tuple[Message | str, str], ...] = (
    ({"type": "subscribe", "topic": "orders", "id": {"any": ["json"]}}, "snapshot"),
    ({"type": "subscribe", "topic": "payments"}, "subscribed"),
    ("UPDATE orders SET n = 12345678901234567890.5", "change"),
    ("DELETE FROM orders WHERE id = 2", "change"),
    ("INSERT INTO payments (n) VALUES (7)", "event"),
    ({"type": "subscribe", "topic": "nothing", "id": 3}, "error"),
    ({"type": "nonsense"}, "error"),
    ({"type": "auth", "token": "any"}, "authenticated"),
    ({"type": "unsubscribe", "topic": "payments"}, "unsubscribed"),
    ({"type": "ping"}, "pong"),
    (END_SESSIONS, "status"),
)


async def everything(address: str, admin: psycopg.Connection) -> AsyncIterator[Message]:
    """Have a bridge say all it can."""
    url = address.replace("http://", "ws://") + "/ws"
    async with connect(url, compression=None) as socket, asyncio.timeout(PATIENCE):
        for cause, kind in CAUSES:
            if isinstance(cause, str):
                admin.execute(cause.encode())
            else:
                await socket.send(json.dumps(cause))
            while (message := json.loads(await socket.recv()))["type"] != kind:
                yield message
            yield message


async def test_a_bridge_sends_what_is_described(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(TABLES.encode())
    (tmp_path / "config.yaml").write_text(CONFIG)
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    seen = set()
    async with rowcast.serving() as serving:
        async for message in everything(serving.address, admin):
            check(message)
            seen.add(message["type"])
        async with streaming(serving.address, "orders", "nothing") as stream:
            for _ in range(4):
                event = await stream.next()
                assert event.type == event.json()["type"]
                check(event.json())
    assert seen == names("tell")
