"""Tables → a TypeScript schema of their topics. Pure.

A type says what can arrive: PostgreSQL's `to_jsonb` writes the rows, and the client for
JavaScript makes strings of integers that a number cannot hold. An alias that is not used is
not written.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Type:
    """A type below any domains. `kind` is `pg_type.typtype`, `labels` are an enum's.

    `element` makes it an array; `castable`: it has a cast to json, which `to_jsonb` then uses.
    """

    name: str
    builtin: bool = True
    kind: str = "b"
    labels: tuple[str, ...] = ()
    element: Type | None = None
    castable: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A column that is sent. `dimensions` are those that an array was declared with."""

    name: str
    type: Type
    nullable: bool
    dimensions: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of one table's topics look like; `name` is its public one.

    The topics of a `log` are read as events, and have no state.
    """

    name: str
    templates: tuple[str, ...]
    fields: tuple[Field, ...]
    log: bool = False


ALIASES = {
    "Bigint": ("A bigint: a string past 2^53, which a number would round.", "number | string"),
    "Numeric": (
        "A numeric: rounded as JavaScript does; a string for NaN, infinity, integers past 2^53.",
        "number | string",
    ),
    "Float": (
        "A float: a string if it is not finite, or an integer past 2^53.",
        "number | string",
    ),
    "Json": (
        "JSON, as it was stored.",
        "string | number | boolean | null | Json[] | {[key: string]: Json}",
    ),
}

_BUILTIN = {
    "bool": "boolean",
    "int2": "number",
    "int4": "number",
    "int8": "Bigint",
    "numeric": "Numeric",
    "float4": "Float",
    "float8": "Float",
    "json": "Json",
    "jsonb": "Json",
}
"""By name in pg_catalog. Whatever else is there is written as a string."""

_HEAD = "// Written by `rowcast types`; run it again when the config or the tables change.\n"
_NUMBERS = frozenset({"Bigint", "Numeric", "Float"})
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def declarations(shapes: Sequence[Shape], *, numbers: bool = False) -> str:
    """The text of a declaration file, with a `Schema` to give to `connect`.

    With `numbers` every number is a `number`, which is convenient, and wrong for some values.
    """
    names = _names([shape.name for shape in shapes])
    body = "".join(_interface(names[shape.name], shape.fields) for shape in shapes)
    return _HEAD + _aliases(body, numbers=numbers) + body + _schema(shapes, names)


def _aliases(body: str, *, numbers: bool) -> str:
    used = [name for name in ALIASES if re.search(rf"\b{name}\b", body)]
    return "".join(
        f"\n/** {ALIASES[name][0]} */\n"
        f"export type {name} = {'number' if numbers and name in _NUMBERS else ALIASES[name][1]};\n"
        for name in used
    )


def _interface(name: str, fields: Iterable[Field]) -> str:
    lines = "".join(f"  {_property(field.name)}: {_field(field)};\n" for field in fields)
    return f"\nexport interface {name} {{\n{lines}}}\n"


def _field(field: Field) -> str:
    text = _type(field.type, max(1, field.dimensions))
    return f"{text} | null" if field.nullable and text != "Json" else text


def _type(found: Type, dimensions: int = 1) -> str:
    if found.element is not None:
        text = _type(found.element)
        for _ in range(dimensions):
            text = f"({text} | null)[]" if text != "Json" else "Json[]"
        return text
    if found.kind == "e":
        return " | ".join(_quoted(label) for label in found.labels) or "never"
    if found.kind == "c":
        return "{[field: string]: Json}"
    if found.builtin:
        return _BUILTIN.get(found.name, "string")
    return "Json" if found.castable else "string"


def _schema(shapes: Sequence[Shape], names: dict[str, str]) -> str:
    parts = {
        "topics": [shape for shape in shapes if not shape.log],
        "logs": [shape for shape in shapes if shape.log],
    }
    body = "".join(_part(part, found, names) for part, found in parts.items() if found)
    return f"\nexport interface Schema {{\n{body}}}\n"


def _part(part: str, shapes: Iterable[Shape], names: dict[str, str]) -> str:
    topics = "".join(
        f"    {_quoted(template)}: {names[shape.name]};\n"
        for shape in shapes
        for template in shape.templates
    )
    return f"  {part}: {{\n{topics}  }};\n"


def _names(tables: Sequence[str]) -> dict[str, str]:
    """Each table's interface: `order_items` → `OrderItems`, all different and none an alias."""
    taken = {"Schema", *ALIASES}
    found = {}
    for table in tables:
        found[table] = next(name for name in _candidates(table) if name not in taken)
        taken.add(found[table])
    return found


def _candidates(table: str) -> Iterator[str]:
    words = re.findall(r"[A-Za-z0-9]+", table)
    name = "".join(word[0].upper() + word[1:] for word in words)
    name = name if _IDENTIFIER.fullmatch(name) else f"Table{name}"
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}{number}"


def _property(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text)
