"""Server-Sent Events to the byte: whatever a message holds, a browser reads that and no other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge import wire
from bridge.changes import Effect
from bridge.errors import ProtocolError
from bridge.gateways import sse
from bridge.gateways.http import refusal
from bridge.gateways.sse import Asked, EventStream, asked, beginning
from bridge.message import Bundle, Message, Page
from bridge.metrics import Metrics
from bridge.wire import ErrorCode, Position
from tests.support.events import parse

if TYPE_CHECKING:
    from bridge.gateways.connection import Connection

ENDS = st.sampled_from(["\r", "\n", "\r\n", "\n\n", "data:", "id: 1\n", "\0", "\ufeff", ": "])
TEXT = st.lists(st.one_of(st.text(), ENDS)).map("".join)


@given(TEXT)
@example("\u2028\u2029\x85\x0b\x0c")
@example("\r\n\n\rdata: x\n\nevent: y\n")
def test_any_text_is_one_event_with_that_text(text: str) -> None:
    message = Message('{"type":"change"' + text)
    (event,) = parse(message.event)
    assert event.type == "change"
    # EventSource gives every end of line as one character: blanks between JSON's tokens.
    assert event.data == re.sub("\r\n|\r", "\n", message.text)


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_any_id_that_a_client_sends_comes_back(value: object) -> None:
    (event,) = parse(wire.subscribed("orders", value).event)
    assert event.type == "subscribed"
    assert json.loads(event.data).get("id") == value


def test_half_a_surrogate_pair_goes_back_as_an_escape() -> None:
    (event,) = parse(wire.error(ErrorCode.BAD_MESSAGE, "\ud800").event)
    assert json.loads(event.data)["message"] == "\ud800"


def test_an_event_is_made_once() -> None:
    message = wire.pong()
    assert message.event is message.event


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += data


class Line:
    """As much of a connection as a stream writes to."""

    stalled_since: float | None = None

    def __init__(self) -> None:
        self.transport = Transport()


def stream(*topics: str, since: tuple[str, ...] = ()) -> tuple[EventStream, Transport]:
    line = Line()
    asked = Asked(topics, since or ("",) * len(topics))
    return EventStream(cast("Connection", line), asked, Metrics()), line.transport


def change(topic: str, cursor: str | None) -> Message:
    message = wire.change(topic, "t", Effect.UPDATE, '{"id":1}', '{"id":1}', "v")
    message.cursor = cursor
    return message


def page(topic: str, cursor: str | None, *, first: bool = True, last: bool = True) -> Message:
    message = Page(topic, [], "v", first=first, last=last)
    message.cursor = cursor
    return message


def ids(transport: Transport) -> list[str]:
    return [event.id for event in parse(transport.written)]


def test_without_cursors_there_are_no_ids() -> None:
    sink, transport = stream("a")
    sink.write(Bundle([page("a", None), change("a", None)]))
    assert ids(transport) == ["", ""]
    assert b"id:" not in transport.written


def test_a_topic_that_is_not_answered_yet_keeps_what_it_was_asked_with() -> None:
    """Who is cut off here comes back with the id, and would begin its log anywhere else."""
    sink, transport = stream("a", "log", "c", since=("", "start", "old"))
    sink.write(Bundle([change("a", "A1")]))
    sink.write(Bundle([wire.subscribed("log", None, resumed=True, cursor="L1")]))
    sink.write(Bundle([wire.subscribed("c", None)]))
    assert ids(transport) == ["A1,start,old", "A1,L1,old", "A1,L1,"]


def test_the_id_of_one_topic_is_its_cursor() -> None:
    sink, transport = stream("a")
    sink.write(Bundle([page("a", "c1")]))
    sink.write(Bundle([change("a", None)]))
    sink.write(Bundle([change("a", "c2")]))
    assert ids(transport) == ["c1", "c1", "c2"]


def test_only_the_last_event_of_a_write_moves_the_id() -> None:
    sink, transport = stream("a")
    sink.write(Bundle([page("a", "c1")]))
    sink.write(Bundle([change("a", "c2"), change("a", "c2"), change("a", "c2")]))
    assert ids(transport) == ["c1", "c1", "c1", "c2"]


def test_the_id_of_several_topics_has_a_cursor_of_each() -> None:
    sink, transport = stream("a", "b", "c")
    sink.write(Bundle([page("b", "c1")]))
    sink.write(Bundle([page("a", "c2")]))
    sink.write(Bundle([change("b", "c3")]))
    assert ids(transport) == [",c1,", "c2,c1,", "c2,c3,"]
    assert asked("topic=a&topic=b&topic=c", "c2,c3,").cursors == ("c2", "c3", "")


def test_a_snapshot_that_has_only_begun_takes_the_cursor_back() -> None:
    sink, transport = stream("a")
    sink.write(Bundle([page("a", "c1")]))
    sink.write(Bundle([page("a", "", last=False)]))
    sink.write(Bundle([page("a", "c2", first=False)]))
    assert ids(transport) == ["c1", "", "c2"]


def test_an_id_that_would_be_too_long_is_none() -> None:
    sink, transport = stream("a", "b")
    sink.write(Bundle([page("a", "x" * 3000)]))
    sink.write(Bundle([page("b", "x" * 3000)]))
    assert [len(position) for position in ids(transport)] == [3001, 0]


@pytest.mark.parametrize(
    ("query", "topics"),
    [
        ("topic=orders", ("orders",)),
        ("topic=orders%2F42", ("orders/42",)),
        ("topic=orders/42&topic=orders", ("orders/42", "orders")),
        ("topic=a&topic=a&topic=b", ("a", "b")),
        # A value with a slash in it is encoded in the topic, and once more in the query.
        ("topic=shelves%2Fa%252Fb", ("shelves/a%2Fb",)),
        ("topic=shelves/a%252Fb", ("shelves/a%2Fb",)),
        ("topic=%C3%BC&other=1", ("ü",)),
    ],
)
def test_topics_are_decoded_once(query: str, topics: tuple[str, ...]) -> None:
    assert asked(query, None).topics == topics


@pytest.mark.parametrize(
    "query", ["", "topics=a", "topic=", "topic=%ff", "topic=a&last_event_id=%ff"]
)
def test_a_query_without_a_topic_is_refused(query: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        asked(query, None)
    assert caught.value.code == ErrorCode.BAD_MESSAGE


@pytest.mark.parametrize("position", ["a\nb", "a\rb", "a\0b", "ü", "\x7f", "x" * 4097])
def test_an_id_that_we_never_wrote_is_refused(position: str) -> None:
    with pytest.raises(ProtocolError, match="Last-Event-ID"):
        asked("topic=a", position)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("", None),
        ("c1", "c1"),
        ("start", "start"),
        ("position=7", Position("7")),
        ("position=a%2Cb%25", Position("a,b%")),
    ],
)
def test_what_may_stand_for_a_cursor(text: str, since: object) -> None:
    assert beginning(text) == since


@pytest.mark.parametrize(
    ("header", "query", "cursors"),
    [
        (None, "topic=a", ("",)),
        ("c1", "topic=a", ("c1",)),
        ("c1", "topic=a&topic=b", ("c1", "c1")),
        ("c1,c2", "topic=a&topic=b", ("c1", "c2")),
        ("c1,c2", "topic=a", ("",)),
        ("c1,c2", "topic=a&topic=b&topic=c", ("", "", "")),
        (None, "topic=a&last_event_id=c1", ("c1",)),
        # A browser that comes back sends both: the header is the newer.
        ("c2", "topic=a&last_event_id=c1", ("c2",)),
        ("x" * 4096, "topic=a", ("x" * 4096,)),
    ],
)
def test_where_to_resume(header: str | None, query: str, cursors: tuple[str, ...]) -> None:
    assert asked(query, header).cursors == cursors


def test_a_refusal_that_passes_is_told_in_a_stream() -> None:
    refused = refusal(ProtocolError(ErrorCode.UNAVAILABLE, "not ready\nyet"))
    (event,) = parse(bytes(sse.come_back(refused).body))
    assert event.type == "error"
    assert event.json() == {"type": "error", "code": "unavailable", "message": "not ready\nyet"}
