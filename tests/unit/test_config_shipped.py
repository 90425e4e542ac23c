"""The config file: what ships with it knows the same keys as the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bridge.config import Config, LimitsConfig, ServerConfig, TableConfig, loads, quantities
from bridge.config.auth import JwtConfig, RlsConfig
from bridge.config.model import SECTIONS, json_schema, keys
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def test_the_schema_for_editors_is_the_models() -> None:
    shipped = (ROOT / "bridge/config.schema.json").read_text()
    assert shipped == json_schema(), (
        "run: python -m bridge.config.model > bridge/config.schema.json"
    )


def sections(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "", schema
    names = {"tables": "Table"}
    for section in SECTIONS:
        if section:
            name = names.get(section, section.rpartition(".")[2].title())
            yield section, schema["$defs"][name]


def test_the_schema_for_editors_describes_every_key() -> None:
    schema = json.loads(json_schema())
    for name, found in sections(schema):
        assert tuple(found["properties"]) == keys(name)
        assert found["additionalProperties"] is False
        for key in found["properties"].values():
            section = schema["$defs"][key["$ref"].rpartition("/")[2]] if "$ref" in key else key
            assert section["description"]


def test_the_schema_for_editors_has_the_real_defaults() -> None:
    real = {"": TableConfig("t", (None, "t")), "server": ServerConfig(), "limits": LimitsConfig()}
    real |= {"auth.jwt": JwtConfig(), "auth.rls": RlsConfig("app")}
    written = {
        "debounce",
        "max_wait",
        "drain",
        "reconcile",
        "leeway",
        "handshake",
        "unauthenticated",
    }
    of_the_file = {"schema", "events", "reconcile", "retention", "retention_size"}
    of_the_file |= {"audit_retention", "definer"}
    for section, found in sections(json.loads(json_schema())):
        for name, key in found["properties"].items():
            if "default" not in key or section == "tables":
                continue
            owner = Config if name in of_the_file else real[section]
            default = quantities.duration(key["default"]) if name in written else key["default"]
            sized = name in ("message", "headers", "row", "retention_size")
            default = quantities.size(default) if sized else default
            default = quantities.trail(default) if name.endswith("retention") else default
            expected = getattr(owner, name)
            assert default == (list(expected) if isinstance(expected, tuple) else expected)


def occurrences(text: str) -> Iterator[tuple[str, str]]:
    """Every (section, key) of a file, tables taken together."""
    for key, value in yaml.safe_load(text).items():
        yield "", key
        for section in value.values() if key == "tables" else [value]:
            if isinstance(section, dict):
                yield from within(key, section)


def within(section: str, value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, found in value.items():
        yield section, key
        if f"{section}.{key}" in SECTIONS:
            for entry in found if isinstance(found, list) else [found]:
                yield from within(f"{section}.{key}", entry)


INSTEAD = {("auth.jwt", "public_key"), ("auth.jwt", "jwks_url")}
"""Of these there can be only one beside `secret`; the example names them in a comment."""


def test_the_example_has_every_key() -> None:
    text = (ROOT / "config.example.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=bridge/config.schema.json\n")
    expected = {(section, key) for section in SECTIONS for key in keys(section)}
    assert set(occurrences(text)) == expected - INSTEAD
    assert all(f"# {key}: " in text for _, key in INSTEAD)


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    for section in SECTIONS:
        heading = {"": "The file", "tables": "A table"}.get(section, f"`{section}`")
        part = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(keys(section))


def test_the_documentation_shows_real_errors() -> None:
    errors = (ROOT / "docs/configuration.md").read_text().partition("\n## Errors\n")[2]
    text, printed = re.findall(r"```(?:yaml)?\n(.*?)```", errors, re.DOTALL)
    with pytest.raises(ConfigError) as caught:
        loads(text, env={"DATABASE_URL": "postgresql://"})
    assert f"{caught.value}\n" == printed
