"""What every section of the config file is made of."""

# No `from __future__ import annotations`: pydantic reads these at run time.
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bridge.config.source import Scalar


class Section(BaseModel):
    """Exactly these keys; a key that is left out stays None."""

    model_config = ConfigDict(
        strict=True,
        defer_build=True,  # a section is built once, as a part of the file, and not for itself too
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        json_schema_extra={"type": ["object", "null"]},
    )


def key(description: str, **schema: Any) -> Any:
    """A key that may be left out; `schema` is what editors know beyond its type."""
    return Field(default=None, description=description, json_schema_extra=schema or None)


def empty(value: object) -> object:
    """`orders:` with nothing behind it means all defaults."""
    return {} if isinstance(value, Scalar) and value.kind == "null" else value


class Alternative:
    """For editors: a word that may stand in place of the value."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"const": self.word}, handler(schema)]}
