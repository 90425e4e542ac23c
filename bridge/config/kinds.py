"""The kinds of values that keys of the config file have: how each is read, and what editors
are told of it."""

# No `from __future__ import annotations`: pydantic reads these at run time.
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from bridge.config import AuditConfig, quantities, values
from bridge.config.sections import Alternative
from bridge.topics import Template

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_TEXT = WithJsonSchema({"type": "string", "minLength": 1})
_FLAG = WithJsonSchema({"anyOf": [{"type": "boolean"}, _VARIABLE]})
_COUNT = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _VARIABLE]})
_PORT = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535}, _VARIABLE]})
_DURATION = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^[0-9.]+(ms|s|m|h)$|\$\{"}, {"const": 0}]}
)
_RETENTION = WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+(s|m|h|d)$|\$\{"})
_SIZE = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^[0-9]+([KMG]i)?B$|\$\{"}, {"type": "integer"}]}
)
_AUDIT = WithJsonSchema(
    {
        "anyOf": [
            {"type": "boolean"},
            {
                "type": "object",
                "properties": {
                    "values": {
                        "anyOf": [
                            {"type": "boolean"},
                            {"type": "array", "items": {"type": "string", "minLength": 1}},
                        ]
                    }
                },
                "additionalProperties": False,
            },
            _VARIABLE,
        ]
    }
)
_PAIR = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
_RELATION = WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _PAIR]})

Conninfo: TypeAlias = Annotated[str, PlainValidator(values.conninfo), _TEXT]
Schema: TypeAlias = Annotated[str, PlainValidator(values.schema_name), _TEXT]
Role: TypeAlias = Annotated[str, PlainValidator(values.role), _TEXT]
Host: TypeAlias = Annotated[str, PlainValidator(values.host), _TEXT]
Origin: TypeAlias = Annotated[str, PlainValidator(values.origin), _TEXT]
Network: TypeAlias = Annotated[str, PlainValidator(values.network), _TEXT]
PublicName: TypeAlias = Annotated[str, PlainValidator(values.public_name), _TEXT]
Column: TypeAlias = Annotated[str, PlainValidator(values.identifier), _TEXT]
Relation: TypeAlias = Annotated[tuple[str | None, str], PlainValidator(values.relation), _RELATION]
Topic: TypeAlias = Annotated[Template, PlainValidator(values.template), _TEXT]
Flag: TypeAlias = Annotated[bool, PlainValidator(values.flag), _FLAG]
Count: TypeAlias = Annotated[int, PlainValidator(lambda value: quantities.count(value)), _COUNT]
Port: TypeAlias = Annotated[int, PlainValidator(quantities.port), _PORT]
Duration: TypeAlias = Annotated[float, PlainValidator(quantities.duration), _DURATION]
Retention: TypeAlias = Annotated[float, PlainValidator(quantities.retention), _RETENTION]
Trail: TypeAlias = Annotated[float, PlainValidator(quantities.trail), _RETENTION]
Audit: TypeAlias = Annotated[AuditConfig | None, PlainValidator(values.audit), _AUDIT]
Volume: TypeAlias = Annotated[int, PlainValidator(quantities.volume), _SIZE]
Size: TypeAlias = Annotated[int, PlainValidator(quantities.size), _SIZE]
Text: TypeAlias = Annotated[str, PlainValidator(values.text), _TEXT]
Sql: TypeAlias = Annotated[str, PlainValidator(values.text), _TEXT]
Operation: TypeAlias = Annotated[
    str, PlainValidator(values.operation), WithJsonSchema({"enum": [*values.OPERATIONS]})
]
Trigger: TypeAlias = Annotated[
    str, PlainValidator(values.trigger), WithJsonSchema({"enum": [*values.TRIGGERS]})
]
Mode: TypeAlias = Annotated[
    str, PlainValidator(values.mode), WithJsonSchema({"enum": [*values.MODES]})
]
Columns: TypeAlias = Annotated[list[Column], Field(min_length=1)]
ColumnsOrAll: TypeAlias = Annotated[
    Columns | None,
    BeforeValidator(lambda value: None if value == values.ALL else value),
    Alternative(values.ALL),
]
Operations: TypeAlias = Annotated[list[Operation], Field(min_length=1)]
Through: TypeAlias = Annotated[dict[Column, Column], Field(min_length=1)]
Topics: TypeAlias = Annotated[list[Topic], Field(min_length=1)]
