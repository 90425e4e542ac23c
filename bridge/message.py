"""Messages to subscribers: JSON text, and what each transport writes of it.

A message is encoded once, however many get it. What comes from PostgreSQL is in its
text as it came.
"""

from __future__ import annotations

import json
import re
from array import array
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from bridge.changes import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LINE_END = re.compile("\r\n|\r|\n")


class Message:
    """One message as JSON text; what a transport writes is made once, when first asked for.

    `cursor`: who has got this, and all before it about `topic`, may resume from here. An
    empty one takes back those before it; None says nothing.
    """

    __slots__ = ("_event", "_frame", "cursor", "text", "topic")

    def __init__(self, text: str, topic: str | None = None, cursor: str | None = None) -> None:
        self.text = text
        self.topic = topic
        self.cursor = cursor
        self._frame: bytes | None = None
        self._event: bytes | None = None

    @property
    def kind(self) -> str:
        """The message's `type`, which every text begins with."""
        start = len('{"type":"')
        return self.text[start : self.text.index('"', start)]

    @property
    def frame(self) -> bytes:
        """The message as one final, unmasked text frame (RFC 6455, 5.2)."""
        if self._frame is None:
            # Half a surrogate pair, which a client may send as an escape, goes back as one.
            payload = self.text.encode(errors="backslashreplace")
            self._frame = _header(len(payload)) + payload
        return self._frame

    @property
    def event(self) -> bytes:
        """The message as a Server-Sent Event but for its id, which is each stream's own."""
        if self._event is None:
            data = "".join([f"data: {line}\n" for line in _LINE_END.split(self.text)])
            self._event = f"event: {self.kind}\n{data}\n".encode(errors="backslashreplace")
        return self._event


def _header(length: int) -> bytes:
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class ChangeMessage(Message):
    """A `change`; it can say a different `op` to a subscriber who missed the ones before."""

    __slots__ = ("_others", "_parts", "effect", "version")

    def __init__(
        self,
        parts: tuple[str, str],
        effect: Effect,
        version: str,
        topic: str | None = None,
        cursor: str | None = None,
    ) -> None:
        where = f',"cursor":"{cursor}"' if cursor else ""
        super().__init__(f'{parts[0]},"op":"{effect}",{parts[1]}{where}}}', topic, cursor)
        self._parts = parts
        self._others: dict[Effect, ChangeMessage] | None = None
        self.effect = effect
        self.version = version

    def at(self, cursor: str) -> ChangeMessage:
        """The same change, as the last of what leads up to a cursor."""
        return ChangeMessage(self._parts, self.effect, self.version, self.topic, cursor)

    def after(self, unsent: ChangeMessage) -> ChangeMessage:
        """This change as it reads to somebody who never got `unsent`."""
        effect = _CONFLATED.get((unsent.effect, self.effect), self.effect)
        if effect is self.effect:
            return self
        if self._others is None:
            self._others = {}
        if effect not in self._others:
            about = self.version, self.topic, self.cursor
            self._others[effect] = ChangeMessage(self._parts, effect, *about)
        return self._others[effect]


_CONFLATED = {
    (Effect.INSERT, Effect.UPDATE): Effect.INSERT,
    (Effect.DELETE, Effect.INSERT): Effect.UPDATE,
}


class Bundle:
    """Messages that go out in one write, in their order; all who get the same ones share it.

    What is made of them is made once, and then an attribute like any other.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._events: tuple[str | None, bytes] | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @cached_property
    def size(self) -> int:
        """Characters."""
        return sum([len(message.text) for message in self.messages])

    @cached_property
    def frames(self) -> bytes:
        return b"".join([message.frame for message in self.messages])

    @cached_property
    def cursors(self) -> Mapping[str, str]:
        """By topic, where who has got all of these may resume from."""
        said = ((message.topic, message.cursor) for message in self.messages)
        return {topic: cursor for topic, cursor in said if topic and cursor is not None}

    def events(self, position: str | None) -> bytes:
        """As Server-Sent Events, with this id if one is given.

        It goes with the last: whoever gets a part of them has not come that far.
        """
        if self._events is None or self._events[0] != position:
            events = [message.event for message in self.messages]
            if position is not None:
                events.insert(-1, f"id: {position}\n".encode())
            self._events = position, b"".join(events)
        return self._events[1]


class News(Bundle):
    """Changes of one topic, by key, as all hear them who are owed nothing else."""

    def __init__(self, topic: str, changes: Sequence[tuple[str, ChangeMessage]]) -> None:
        super().__init__([message for _, message in changes])
        self.topic = topic
        self.changes = changes
        self.oldest = min([message.version for _, message in changes])


class Page(Message):
    """One page of a topic's snapshot."""

    __slots__ = ("_lengths", "_start", "first", "last", "version")

    def __init__(
        self,
        topic: str,
        rows: Sequence[str],
        version: str,
        *,
        first: bool,
        last: bool,
        cursor: str | None = None,
    ) -> None:
        head = f'{{"type":"snapshot","topic":{encode(topic)},"rows":['
        ends = f'"first":{encode(first)},"last":{encode(last)}'
        where = f',"cursor":"{cursor}"' if cursor else ""
        text = f'{head}{",".join(rows)}],{ends},"version":"{version}"{where}}}'
        super().__init__(text, topic, cursor)
        self._start = len(head)
        self._lengths = array("L", map(len, rows))
        self.first = first
        self.last = last
        self.version = version

    @property
    def rows(self) -> list[str]:
        """The `{"key":…,"row":…}` of each row, as PostgreSQL wrote it."""
        rows, start = [], self._start
        for length in self._lengths:
            rows.append(self.text[start : start + length])
            start += length + len(",")
        return rows


# json.dumps makes an encoder each time, which takes longer than to encode a name.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(value: Any) -> str:
    """A value → JSON, as compact as ours is."""
    return _ENCODER.encode(value)


@lru_cache(maxsize=1024)
def changed(topic: str, table: str) -> str:
    """How all changes of a topic begin. Those of a burst are mostly of a few."""
    return f'{{"type":"change","topic":{encode(topic)},"table":{encode(table)}'
