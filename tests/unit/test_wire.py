"""The wire: commands are read strictly, messages are what the protocol says, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from bridge import wire
from bridge.changes import Effect
from bridge.errors import ProtocolError
from bridge.wire import CloseCode, ErrorCode, Message, Ping, Subscribe, Unsubscribe

INSERT, UPDATE, DELETE = Effect


@pytest.mark.parametrize(
    ("frame", "command"),
    [
        ('{"type":"ping"}', Ping()),
        ('{"type":"subscribe","topic":"orders"}', Subscribe("orders")),
        ('{"type":"subscribe","topic":"orders","id":7}', Subscribe("orders", 7)),
        ('{"type":"subscribe","topic":"o","id":{"a":[1]}}', Subscribe("o", {"a": [1]})),
        ('{"type":"subscribe","topic":"o","id":null}', Subscribe("o")),
        ('{"type":"subscribe","topic":"o","snapshot":false}', Subscribe("o", None, False)),
        ('{"type":"subscribe","topic":"o","later":1}', Subscribe("o")),
        ('{"type":"unsubscribe","topic":"orders"}', Unsubscribe("orders")),
        ('{"type":"ping","type":"unsubscribe","topic":"o"}', Unsubscribe("o")),
    ],
)
def test_commands(frame: str, command: wire.Command) -> None:
    assert wire.parse(frame) == command


BAD, UNKNOWN = ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        (b'{"type":"ping"}', BAD, "binary"),
        ("", BAD, "not JSON"),
        ("hello", BAD, "not JSON"),
        ("[" * 30_000, BAD, "not JSON"),
        ('{"type":"ping"', BAD, "not JSON"),
        (f'{{"type":"ping","n":{"9" * 5000}}}', BAD, "not JSON"),
        ("[]", BAD, "not a JSON object"),
        ("null", BAD, "not a JSON object"),
        ("{}", BAD, 'no "type"'),
        ('{"type":null}', BAD, 'no "type"'),
        ('{"type":"nope"}', UNKNOWN, '"nope"'),
        ('{"type":1}', UNKNOWN, "unknown type 1"),
        ('{"type":["ping"]}', UNKNOWN, "a list"),
        ('{"type":' + "[" * 900 + "]" * 900 + "}", UNKNOWN, "a list"),
        ('{"type":"' + "x" * 500 + '"}', UNKNOWN, '"xxx'),
        ('{"type":"\\ud800"}', UNKNOWN, "unknown type"),
        ('{"type":"subscribe"}', BAD, '"topic"'),
        ('{"type":"subscribe","topic":""}', BAD, '"topic"'),
        ('{"type":"subscribe","topic":7}', BAD, '"topic" is 7'),
        ('{"type":"subscribe","topic":["orders"]}', BAD, '"topic" is a list'),
        ('{"type":"unsubscribe"}', BAD, '"topic"'),
        ('{"type":"subscribe","topic":"o","snapshot":"no"}', BAD, '"snapshot" is "no"'),
        ('{"type":"subscribe","topic":"o","snapshot":null}', BAD, '"snapshot" is null'),
        ('{"type":"subscribe","topic":"o","id":NaN}', BAD, '"id"'),
        ('{"type":"subscribe","topic":"o","id":1e400}', BAD, '"id"'),
        (f'{{"type":"subscribe","topic":"o","id":"{"x" * 255}"}}', BAD, '"id"'),
        ('{"type":"subscribe","topic":"o","id":' + "[" * 500 + "]" * 500 + "}", BAD, '"id"'),
    ],
)
def test_a_frame_that_is_no_command_says_why(frame: str | bytes, code: str, says: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.parse(frame)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200
    assert json.loads(payload(wire.error(code, str(caught.value))))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ping", "subscribe", "unsubscribe"]) | json_values,
        "topic": st.text(st.characters()) | json_values,
        "id": json_values,
        "snapshot": st.booleans() | json_values,
    },
)


@given(st.text() | st.builds(json.dumps, json_values | near_misses))
@example('{"type":"subscribe","topic":"\\ud800","id":"\\udfff"}')
def test_any_frame_is_a_command_or_a_protocol_error(frame: str) -> None:
    try:
        command = wire.parse(frame)
    except ProtocolError as error:
        payload(wire.error(error.code, str(error)))
        return
    if isinstance(command, Subscribe):
        reply = json.loads(payload(wire.subscribed(command.topic, command.id)))
        assert reply.get("id") == command.id
        assert reply["topic"] == command.topic


def payload(message: Message) -> str:
    """The text that a client gets to see: its frame, as another implementation reads it."""
    client = Protocol(CLIENT, max_size=None)
    client.receive_data(message.frame)
    (frame,) = client.events_received()
    assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
    return bytes(frame.data).decode()


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_frames_of_every_length(length: int) -> None:
    assert payload(Message("x" * length)) == "x" * length


def test_lengths_count_bytes() -> None:
    assert payload(Message("🛒" * 40)) == "🛒" * 40


def test_a_frame_is_made_once() -> None:
    message = Message("x")
    assert message.frame is message.frame


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            wire.welcome("b7f3", "1.0.0"),
            {"type": "welcome", "protocol": 1, "instance": "b7f3", "version": "1.0.0"},
        ),
        (
            wire.subscribed("orders", 1),
            {"type": "subscribed", "topic": "orders", "id": 1, "resumed": False},
        ),
        (
            wire.subscribed("orders", None),
            {"type": "subscribed", "topic": "orders", "resumed": False},
        ),
        (wire.unsubscribed("orders"), {"type": "unsubscribed", "topic": "orders"}),
        (wire.status("stale"), {"type": "status", "state": "stale"}),
        (wire.pong(), {"type": "pong"}),
        (
            wire.error(ErrorCode.FORBIDDEN, "no", "orders/7", 0),
            {"type": "error", "code": "forbidden", "message": "no", "topic": "orders/7", "id": 0},
        ),
        (
            wire.error("bad_message", "no"),
            {"type": "error", "code": "bad_message", "message": "no"},
        ),
        (
            wire.change("orders/42", "orders", UPDATE, '{"id":42}', '{"id":42,"n":1e400}', "v"),
            {
                "type": "change",
                "topic": "orders/42",
                "table": "orders",
                "op": "update",
                "key": {"id": 42},
                "row": {"id": 42, "n": float("inf")},
                "version": "v",
            },
        ),
        (
            wire.change("orders/42", "orders", DELETE, '{"id":42}', None, "v"),
            {
                "type": "change",
                "topic": "orders/42",
                "table": "orders",
                "op": "delete",
                "key": {"id": 42},
                "row": None,
                "version": "v",
            },
        ),
    ],
)
def test_messages_have_the_fields_of_the_protocol(
    message: Message, expected: dict[str, Any]
) -> None:
    assert json.loads(payload(message)) == expected
    assert list(json.loads(payload(message))) == list(expected)


def test_codes_are_those_of_the_protocol() -> None:
    assert sorted(ErrorCode) == [
        "bad_message",
        "forbidden",
        "message_too_large",
        "snapshot_too_large",
        "too_many_subscriptions",
        "unauthenticated",
        "unavailable",
        "unknown_topic",
        "unknown_type",
    ]
    assert sorted(CloseCode) == [1009, 1012, 4401, 4408, 4429, 4500, 4503]


# As PostgreSQL may write it: spaces, numbers no float holds, escapes.
KEY, ROW = '{"id": 9007199254740993}', '{"id": 9007199254740993, "n": 0.10, "t": "\\u0007é"}'


def test_rows_are_sent_as_postgresql_wrote_them() -> None:
    assert ROW in payload(wire.change("t", "t", INSERT, KEY, ROW, "v"))
    (page,) = wire.snapshot("t", [(KEY, ROW)], "v")
    assert f'{{"key":{KEY},"row":{ROW}}}' in payload(page)


def pages(*sizes: int) -> list[dict[str, Any]]:
    """A snapshot of rows that take so many characters each."""
    empty = len('{"key":1,"row":""}')
    rows = [("1", '"' + "x" * (size - empty) + '"') for size in sizes]
    return [json.loads(payload(page)) for page in wire.snapshot("orders", rows, "v")]


def test_an_empty_topic_is_one_page() -> None:
    assert pages() == [
        {
            "type": "snapshot",
            "topic": "orders",
            "rows": [],
            "first": True,
            "last": True,
            "version": "v",
        }
    ]


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([30], [1]),
        ([wire.PAGE], [1]),
        ([wire.PAGE, 30], [1, 1]),
        ([wire.PAGE - 1, 30, 30], [2, 1]),
        ([30, wire.PAGE * 3, 30], [2, 1]),
        ([wire.PAGE // 2] * 6, [2, 2, 2]),
        ([32] * 5000, [2048, 2048, 904]),
    ],
)
def test_a_page_ends_when_it_is_full(sizes: list[int], counts: list[int]) -> None:
    snapshot = pages(*sizes)
    assert [len(page["rows"]) for page in snapshot] == counts
    assert [page["first"] for page in snapshot] == [True] + [False] * (len(counts) - 1)
    assert [page["last"] for page in snapshot] == [False] * (len(counts) - 1) + [True]
    assert {page["version"] for page in snapshot} == {"v"}


@pytest.mark.parametrize(
    ("unsent", "newer", "told"),
    [
        (INSERT, INSERT, INSERT),
        (INSERT, UPDATE, INSERT),
        (INSERT, DELETE, DELETE),
        (UPDATE, INSERT, INSERT),
        (UPDATE, UPDATE, UPDATE),
        (UPDATE, DELETE, DELETE),
        (DELETE, INSERT, UPDATE),
        (DELETE, UPDATE, UPDATE),
        (DELETE, DELETE, DELETE),
    ],
)
def test_a_change_after_one_that_was_not_sent(unsent: Effect, newer: Effect, told: Effect) -> None:
    older = wire.change("t", "t", unsent, "1", None if unsent is DELETE else "{}", "1")
    message = wire.change("t", "t", newer, "1", None if newer is DELETE else "{}", "2")
    merged = message.after(older)
    assert merged.effect is told
    assert (merged is message) is (told is newer)
    assert json.loads(merged.text) == {**json.loads(message.text), "op": told.value}
    assert message.after(older) is merged, "made twice"
