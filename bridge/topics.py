"""Topic templates ⇄ topics.

A template is path segments, each a literal or one `{column}`; a column fills its
whole segment, percent-encoded the way JavaScript's `encodeURIComponent` does it, so
that no value can pretend to be a different topic. There is one spelling per topic:
what is not in that spelling is not a topic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Place: TypeAlias = tuple[str, ...]
"""A topic of a template, by the values of its columns: what `match` finds in its name."""

_UNRESERVED = "-_.!~*'()"
_COLUMN = re.compile(r"\{([^{}/]+)\}")
_LITERAL = re.compile(r"[^{}/%\s]+")


def encode(value: str) -> str:
    """A value → one path segment."""
    return quote(value, safe=_UNRESERVED)


def decode(segment: str) -> str | None:
    """One path segment → its value; None where it is not in the one spelling."""
    try:
        value = unquote_to_bytes(segment).decode()
    except UnicodeError:
        return None
    return value if encode(value) == segment and "\0" not in value else None


@dataclass(frozen=True, slots=True)
class Template:
    """`customers/{customer_id}/orders`: literal segments, and columns in order."""

    text: str
    segments: tuple[str | None, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises `ValueError` with what is wrong and where, for the config's errors."""
        segments: list[str | None] = []
        columns: list[str] = []
        for part in text.split("/"):
            if match := _COLUMN.fullmatch(part):
                segments.append(None)
                columns.append(match[1])
            elif _LITERAL.fullmatch(part):
                segments.append(encode(part))
            else:
                raise ValueError(_complaint(part))
        return cls(text, tuple(segments), tuple(columns))

    @property
    def shape(self) -> tuple[str | None, ...]:
        """Two templates of one shape would make topics that cannot be told apart."""
        return self.segments

    def topic(self, values: Mapping[str, str | None]) -> str | None:
        """The topic these column values belong to; None where one of them is NULL."""
        filled = [values[column] for column in self.columns]
        if None in filled:
            return None
        parts = iter(filled)
        return "/".join(
            encode(next(parts) or "") if segment is None else segment for segment in self.segments
        )

    def places(self, fields: Sequence[str]) -> Callable[[tuple[str | None, ...]], Place | None]:
        """A function from values of these fields, or of the first of them, to the topic that they
        belong to: of all rows `topic` would give the same name to, and of no others, the same.

        None where a column's value is NULL or not among them.
        """
        at = [fields.index(column) for column in self.columns]
        start, last = min(at, default=0), max(at, default=-1)
        # Mostly a topic is made of neighbours in a key, and often of the key as it is.
        row = at == list(range(start, last + 1))
        pick: Callable[..., Place] = itemgetter(slice(start, last + 1)) if row else itemgetter(*at)

        def place(values: tuple[str | None, ...]) -> Place | None:
            if len(values) <= last:
                return None
            found = pick(values)
            return None if None in found else found

        return place

    def match(self, topic: str) -> Place | None:
        """The column values that make this topic, or None if it is not one of ours."""
        parts = topic.split("/")
        if len(parts) != len(self.segments):
            return None
        values: list[str] = []
        for part, segment in zip(parts, self.segments, strict=True):
            if segment is None and (value := decode(part)) is not None:
                values.append(value)
            elif part != segment:
                return None
        return tuple(values)


def _complaint(part: str) -> str:
    if not part:
        return "has an empty segment; remove the extra '/'"
    if "{" in part or "}" in part:
        return f"{part!r} mixes a column with other text; '{{column}}' fills a whole segment"
    return f"{part!r} has a character that topics cannot hold (whitespace or '%')"


def specific(templates: Iterable[Template]) -> list[Template]:
    """Templates in matching order: a literal segment wins over a column."""
    return sorted(templates, key=lambda template: [part is None for part in template.segments])
