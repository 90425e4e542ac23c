"""Event types that are declared, each by a JSON Schema of its data.

A type is a file NAME.json in a directory; its `title` and `description` say what it means.
The check is the publisher's: PostgreSQL has none for JSON Schema, so what is published by
plain SQL is taken as it is.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from bridge.errors import BridgeError
from bridge.events.event import InvalidEvent, UnknownEventType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_SHOWN = 200
"""Characters of one problem; a validator's text repeats the value that is wrong."""


class EventTypes:
    """The types that may be published, by name: the JSON Schema of each. Raises BridgeError for
    one that is none."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self.schemas = dict(schemas)
        self._validators = {name: _validator(name, one) for name, one in self.schemas.items()}

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Every NAME.json of a directory."""
        return cls({path.stem: _read(path) for path in sorted(directory.glob("*.json"))})

    def check(self, event_type: str, data: Any) -> None:
        """Raises `UnknownEventType`, or `InvalidEvent` with everything that is wrong."""
        validator = self._validators.get(event_type)
        if validator is None:
            raise UnknownEventType(
                f"there is no event type {event_type!r}{self._meant(event_type)}"
            )
        if problems := _problems(event_type, validator, data):
            found = (f"{one.json_path}: {_short(one.message)}" for one in problems[:5])
            raise InvalidEvent(f"{event_type}: {'; '.join(found)}")

    def page(self) -> str:
        """What people read of them, as Markdown."""
        return "# Event types\n" + "".join(map(self._section, sorted(self.schemas)))

    def _section(self, name: str) -> str:
        return "\n".join(("", f"## {name}", *_described(self.schemas[name]), ""))

    def _meant(self, event_type: str) -> str:
        close = get_close_matches(event_type, self.schemas, n=1)
        return f" (did you mean {close[0]!r}?)" if close else "; declare it by a JSON Schema"


def _validator(name: str, schema: Any) -> Validator:
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry
    except ImportError:
        raise BridgeError("event types need jsonschema: pip install 'rowcast[events]'") from None
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise BridgeError(
            f"event type {name}: {error.json_path}: {_short(error.message)}"
        ) from None
    # A registry of its own: nothing that a schema refers to is fetched from anywhere.
    return kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def _problems(name: str, validator: Validator, data: Any) -> list[ValidationError]:
    from referencing.exceptions import Unresolvable

    try:
        return sorted(validator.iter_errors(data), key=lambda one: one.json_path)
    except Unresolvable as error:
        remedy = "nothing is fetched; put what it refers to into its $defs"
        raise BridgeError(f"event type {name}: {error}: {remedy}") from None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BridgeError(f"{path}: not JSON: {error}") from None


def _described(schema: Any) -> Iterator[str]:
    about = schema if isinstance(schema, dict) else {}
    for key in ("title", "description"):
        if key in about:
            yield f"\n{about[key]}"
    properties = about.get("properties", {})
    if properties:
        yield from ("", "| field | type | required | meaning |", "|---|---|---|---|")
    for name, field in properties.items():
        yield _row(
            name, field if isinstance(field, dict) else {}, name in about.get("required", ())
        )


def _row(name: str, field: Mapping[str, Any], required: bool) -> str:
    kind = field.get("type", "any")
    kinds = " or ".join(kind) if isinstance(kind, list) else str(kind)
    meaning = str(field.get("description", field.get("title", ""))).replace("|", "\\|")
    return f"| `{name}` | {kinds} | {'yes' if required else 'no'} | {meaning} |"


def _short(message: str) -> str:
    return message if len(message) <= _SHOWN else f"{message[: _SHOWN - 1]}…"
