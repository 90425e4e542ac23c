"""What a client makes of what it is sent, and what it asks for after a connection was lost."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from bridge import wire as server
from bridge.changes import Effect
from bridge.client.connection import endpoint
from bridge.client.replica import Changed, Replica, identity
from bridge.client.wire import (
    Change,
    Entry,
    Following,
    Lost,
    Message,
    Refused,
    Snapshot,
    Status,
    Subscribed,
    decode,
    typed,
)
from bridge.errors import BridgeError

KEY, ROW = '{"id":1}', '{"id":1,"price":12.50}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (server.welcome("a", "1").text, None),
        (server.subscribed("o", 1).text, Subscribed("o", False)),
        (server.subscribed("o", 1, cursor="c").text, Subscribed("o", False, "c")),
        (server.status("stale").text, Status("stale")),
        (server.error("forbidden", "no", "o").text, Refused("forbidden", "no", "o")),
        (server.error("bad_message", "no").text, Refused("bad_message", "no")),
        (
            server.error("unavailable", "no", "o", cursor="c").text,
            Refused("unavailable", "no", "o", "c"),
        ),
        (
            server.change("o", "t", Effect.DELETE, KEY, None, "v").text,
            Change("o", "t", "delete", {"id": 1}, None, "v"),
        ),
        (
            server.snapshot("o", [(KEY, ROW)], "v")[0].text,
            Snapshot(
                "o", (Entry({"id": 1}, {"id": 1, "price": Decimal("12.50")}),), True, True, "v"
            ),
        ),
        ('{"type":"later","x":1}', None),
    ],
)
def test_what_the_server_writes_is_read(text: str, message: Message | None) -> None:
    assert typed(decode(text)) == message


def test_numbers_are_what_was_sent() -> None:
    text = '{"type":"x","a":12.50,"b":9007199254740993,"c":1e400}'
    assert str(decode(text)["a"]) == "12.50"
    assert decode(text)["b"] == 9007199254740993
    assert decode(text)["c"] == Decimal("1e400")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', "<html>", "[" * 100_000])
def test_another_server_is_recognised(text: str) -> None:
    with pytest.raises(BridgeError, match="not a message of a bridge"):
        decode(text)


def test_a_message_that_lacks_something_is_named() -> None:
    with pytest.raises(BridgeError, match="a change without 'topic'"):
        typed({"type": "change"})


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765/ws"),
        ("https://app.example.com/", "wss://app.example.com/ws"),
        ("ws://127.0.0.1:8765/ws", "ws://127.0.0.1:8765/ws"),
        ("wss://app.example.com/live/ws/", "wss://app.example.com/live/ws"),
        ("https://app.example.com/live", "wss://app.example.com/live/ws"),
    ],
)
def test_either_address_will_do(url: str, right: str) -> None:
    assert endpoint(url) == right


# Where to resume.


def asked(following: Following) -> list[Any]:
    return [json.loads(command).get("since") for command in following.commands()]


def page(*, first: bool = True, last: bool = True, cursor: str | None = None) -> dict[str, Any]:
    about = {"type": "snapshot", "topic": "a", "first": first, "last": last}
    return about | ({"cursor": cursor} if cursor else {})


def test_cursors_are_kept_by_topic() -> None:
    following = Following(["a", "b"])
    assert asked(following) == [None, None]
    following.take(page(cursor="c1"))
    assert asked(following) == ["c1", None]
    following.take({"type": "change", "topic": "b", "cursor": "c2"})
    following.take({"type": "change", "topic": "a"})
    following.take({"type": "change", "topic": "nobody's", "cursor": "c3"})
    assert asked(following) == ["c1", "c2"]


def test_half_a_snapshot_cannot_be_resumed() -> None:
    following = Following(["a"], "c1")
    following.take(page(last=False, cursor="c2"))
    assert asked(following) == [None]
    following.take(page(first=False, cursor="c2"))
    assert asked(following) == ["c2"]


def test_what_was_not_resumed_begins_anew() -> None:
    following = Following(["a"], "c1")
    following.take({"type": "subscribed", "topic": "a", "resumed": True})
    assert asked(following) == ["c1"]
    following.take({"type": "subscribed", "topic": "a", "resumed": False})
    assert asked(following) == [None]
    # A log has no snapshot that would bring the new cursor.
    following.take({"type": "subscribed", "topic": "a", "resumed": False, "cursor": "c2"})
    assert asked(following) == ["c2"]


def test_since_is_for_all_or_by_topic() -> None:
    assert asked(Following(["a", "b"], "c")) == ["c", "c"]
    assert asked(Following(["a", "b"], {"b": {"position": 7}})) == [None, {"position": 7}]


# Folding.


def snapshot(version: str, *ids: int, first: bool = True, last: bool = True) -> Snapshot:
    rows = tuple(Entry({"id": n}, {"id": n, "v": version}) for n in ids)
    return Snapshot("o", rows, first, last, version)


def change(key: int, version: str, *, gone: bool = False) -> Change:
    row = None if gone else {"id": key, "v": version}
    return Change("o", "t", "delete" if gone else "update", {"id": key}, row, version)


def held(replica: Replica) -> dict[Any, str]:
    return {key: row["v"] for key, row in replica.items()}


async def folded(*messages: Message) -> Replica:
    replica = Replica("o")
    for message in messages:
        replica.take(message)
    return replica


async def test_changes_are_applied_and_old_ones_are_not() -> None:
    replica = await folded(
        snapshot("5", 1, 2), change(1, "4"), change(2, "7"), change(2, "6"), change(3, "5")
    )
    assert held(replica) == {1: "5", 2: "7", 3: "5"}


async def test_an_old_change_does_not_bring_a_deleted_row_back() -> None:
    replica = await folded(snapshot("5", 1), change(1, "7", gone=True), change(1, "6"))
    assert held(replica) == {}
    replica.take(change(1, "8"))
    assert held(replica) == {1: "8"}


async def test_a_snapshot_is_taken_whole() -> None:
    replica = await folded(snapshot("5", 1, 2), snapshot("6", 2, last=False))
    assert held(replica) == {1: "5", 2: "5"}
    replica.take(snapshot("6", 3, first=False))
    assert held(replica) == {2: "6", 3: "6"}


async def test_a_snapshot_that_begins_again_forgets_its_beginning() -> None:
    replica = await folded(snapshot("5", 1, last=False), Lost("x", 0), snapshot("6", 2))
    assert held(replica) == {2: "6"}


async def test_a_new_snapshot_may_be_older() -> None:
    replica = await folded(snapshot("5", 1), change(1, "9", gone=True), snapshot("2", 1))
    assert held(replica) == {1: "2"}
    replica.take(change(1, "3"))
    assert held(replica) == {1: "3"}


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([], "stale"),
        ([Subscribed("o", False)], "stale"),
        ([snapshot("1", last=False)], "stale"),
        ([snapshot("1")], "live"),
        ([Status("stale"), snapshot("1")], "stale"),
        ([Status("stale"), snapshot("1"), Status("live")], "live"),
        ([snapshot("1"), Lost("x", 0)], "stale"),
        ([snapshot("1"), Lost("x", 0), Subscribed("o", False)], "stale"),
        ([snapshot("1"), Lost("x", 0), Subscribed("o", True)], "live"),
        ([Status("stale"), Lost("x", 0), snapshot("1")], "live"),
        ([snapshot("1"), Refused("unavailable", "", "o")], "live"),
        ([snapshot("1"), Refused("snapshot_too_large", "", "o")], "stale"),
    ],
)
async def test_when_it_is_live(messages: list[Message], status: str) -> None:
    assert (await folded(*messages)).status == status


async def test_what_changes_is_told_newest_last() -> None:
    replica = await folded(snapshot("1", 2))
    changes = aiter(replica)
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    replica.take(change(2, "3"))
    assert await first == Changed(2, {"id": 2, "v": "3"})
    replica.take(change(2, "4"))
    replica.take(change(4, "4"))
    replica.take(change(2, "5"))
    replica.take(snapshot("6", 2))
    got = [await anext(changes) for _ in range(2)]
    assert got == [Changed(4, None), Changed(2, {"id": 2, "v": "6"})]


async def test_who_waits_is_told_of_the_end() -> None:
    replica = await folded(snapshot("1", 1))
    replica.take(Refused("snapshot_too_large", "more than 3 rows", "o"))
    with pytest.raises(BridgeError, match="o: more than 3 rows"):
        await replica.until(lambda _: False)
    with pytest.raises(BridgeError, match="o: more than 3 rows"):
        await anext(aiter(replica))
    await replica.until(lambda replica: replica[1]["v"] == "1")


def test_keys() -> None:
    assert identity({"id": 1}) == 1
    assert identity({"b": "x", "a": 1}) == (1, "x")
    assert hash(identity({"a": [1], "b": {"c": 1}}))


def test_a_protocol_that_is_not_known_is_not_guessed_at() -> None:
    assert decode(server.welcome("a", "1").text)["protocol"] == 1
    with pytest.raises(BridgeError, match="speaks protocol 2, this client 1"):
        decode('{"type":"welcome","protocol":2,"instance":"a","version":"9"}')
