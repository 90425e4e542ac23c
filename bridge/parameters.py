"""What the statements that read are given: texts in arrays, and keys to be read ahead. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import sql

    from bridge.changes import Key

FREE = 4
"""The first parameter that is not a changelog's."""


class Ahead(NamedTuple):
    """Keys whose rows a changelog is to read with what was kept, at one moment with it."""

    table: str
    keys: Sequence[Key]
    statement: sql.Composed

    @property
    def columns(self) -> list[str]:
        return arrays(self.keys)


def array(texts: Iterable[str]) -> str:
    """A `text[]` as PostgreSQL reads it. To have one made of a list is a tenth of a quick read."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join([f'"{text}"' for text in quoted]) + "}"


def arrays(values: Iterable[Sequence[str]]) -> list[str]:
    """Values of the same columns → an array for each column."""
    return [array(column) for column in zip(*values, strict=True)]
