"""Which topics a rule means, for the claims of one token. Pure.

A pattern has segments, as topics do: a literal, `{claims.NAME}`, `*` for any one
segment, and at the end `**` for all that follows, or nothing. A claim is compared in
the one spelling that topics have. It counts only where the topic's template has a
column: a tenant who is called like a literal segment of another template gets
nothing by it. What a claim does not say, or not as text, fits nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.topics import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.topics import Template

    Claims: TypeAlias = Mapping[str, Any]

_SEGMENT = re.compile(r"((?:\{[^{}]*\}|[^/{}])*)(?:/|$)")
_CLAIM = re.compile(r"\{claims\.([^{}]+)\}")
_LITERAL = re.compile(r"[^{}/%*\s]+")
_REST = "**"


@dataclass(frozen=True, slots=True)
class Claim:
    """Stands for what the token says of `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """`customers/{claims.customer_id}/**`. A segment of None is `*`; `open` has `**` at the end."""

    text: str
    segments: tuple[str | Claim | None, ...]
    open: bool

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises `ValueError` with what is wrong, for the config's errors."""
        parts = _split(text)
        rest = parts[-1] == _REST
        return cls(text, tuple(_segment(part) for part in parts[: len(parts) - rest]), rest)

    def fits(self, topic: str, template: Template | None, claims: Claims) -> bool:
        """`template` is the one that makes this topic; None if no template does."""
        parts = topic.split("/")
        if len(parts) < len(self.segments) or (len(parts) > len(self.segments) and not self.open):
            return False
        columns = [part is None for part in template.segments] if template else [True] * len(parts)
        return all(
            _fits(segment, part, column, claims)
            for segment, part, column in zip(self.segments, parts, columns, strict=False)
        )


def _split(text: str) -> list[str]:
    """At the slashes, but for those within braces: claims may be named by addresses."""
    if any(char in text for char in "{}"):
        parts = [match[1] for match in _SEGMENT.finditer(text + "/")][:-1]
        if "/".join(parts) != text:
            raise ValueError("has a '{' without its '}'")
        return parts
    return text.split("/")


def _segment(part: str) -> str | Claim | None:
    if part == "*":
        return None
    if match := _CLAIM.fullmatch(part):
        return Claim(match[1])
    if _LITERAL.fullmatch(part):
        return encode(part)
    raise ValueError(_complaint(part))


def _complaint(part: str) -> str:
    if not part:
        return "has an empty segment; remove the extra '/'"
    if part == _REST:
        return "has '**' before its end; use '*' for one segment"
    if "{" in part:
        return f"{part!r} is not '{{claims.NAME}}', which fills a whole segment"
    if "*" in part:
        return f"{part!r} mixes '*' with other text; it fills a whole segment"
    return f"{part!r} has a character that topics cannot hold (whitespace or '%')"


def _fits(segment: str | Claim | None, part: str, column: bool, claims: Claims) -> bool:
    if isinstance(segment, Claim):
        return column and part in map(encode, said(claims, segment.name))
    return segment is None or segment == part


def said(claims: Claims, name: str) -> Sequence[str]:
    """What the claims say of a name, as texts: several for a list, none for what is not there.

    The whole name is a claim, if there is one; else it is a way by dots into objects.
    """
    found = claims[name] if name in claims else _within(claims, name.split("."))
    texts = map(_text, found if isinstance(found, list) else [found])
    return [text for text in texts if text]


def _within(claims: Any, way: Sequence[str]) -> Any:
    for step in way:
        if not isinstance(claims, dict) or step not in claims:
            return None
        claims = claims[step]
    return claims


def _text(value: Any) -> str:
    """As a topic would spell it. There is no telling for fractions, objects and nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        text = str(value)
        return "" if any("\ud800" <= char <= "\udfff" for char in text) else text
    return ""
