"""A hook of MkDocs: the reference, written from the code when the site is built.

Config keys from the model, commands from the parser, metrics from their registry, log events from
the calls that write them, messages from docs/asyncapi.yaml (which tests hold against the bridge),
codes from the wire. Nothing of it is kept in files, so nothing of it can be old.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from mkdocs.structure.files import File, Files

from bridge.cli import _parser as parser
from bridge.config.model import SECTIONS, json_schema
from bridge.metrics import Metrics
from bridge.wire import CloseCode, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for name, page in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(page())))
    return files


def table(*columns: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |"
    yield ""


def code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


# Config keys.


def config_keys() -> Iterator[str]:
    schema = json.loads(json_schema())
    yield "# All config keys"
    yield ""
    yield "Written from the model that reads the file. [Configuration](../configuration.md)"
    yield "explains them; [`config.example.yaml`](../repository/config.example.yaml.md) has each"
    yield "of them once."
    yield ""
    definitions = schema["$defs"]
    for section in SECTIONS:
        found = schema if not section else definitions[_definition(section)]
        yield f"## {f'`{section}`' if section else 'The file'}"
        yield ""
        yield found.get("description", "")
        yield ""
        yield from table(
            "key", "kind", "default", "meaning", "example", rows=_keys(found, definitions)
        )


def _definition(section: str) -> str:
    return {"tables": "Table"}.get(section, section.rpartition(".")[2].title())


def _keys(section: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, key in section["properties"].items():
        default = code(key["default"]) if "default" in key else ""
        if name in section.get("required", ()):
            default = "required"
        example = code(key["examples"][0]) if key.get("examples") else ""
        meaning = key.get("description") or _described(key, definitions)
        yield code(name), _kind(key, definitions), default, meaning, example


def _described(key: dict[str, Any], definitions: dict[str, Any]) -> str:
    named = definitions.get(key.get("$ref", "").rpartition("/")[2], {})
    return str(named.get("description", ""))


def _kind(key: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in key:
        return "a section"
    if "enum" in key or "const" in key:
        return " or ".join(code(value) for value in key.get("enum", [key.get("const")]))
    if "anyOf" in key:
        return " or ".join(dict.fromkeys(_kind(one, definitions) for one in key["anyOf"]))
    kinds = key.get("type", "")
    found = [kinds] if isinstance(kinds, str) else kinds
    plain = {"string": "text", "array": "list", "object": "section", "boolean": "`true` or `false`"}
    return " or ".join(plain.get(kind, kind) for kind in found)


# Commands.


def commands() -> Iterator[str]:
    top = parser()
    yield "# Commands"
    yield ""
    yield f"`rowcast COMMAND`, or `python -m bridge COMMAND`. {top.epilog}"
    yield ""
    (chosen,) = [a for a in top._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in chosen.choices.items():
        yield f"## `rowcast {name}`"
        yield ""
        yield f"{str(command.description).capitalize()}."
        yield ""
        yield from table("option", "meaning", rows=_options(command))


def _options(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        takes = action.nargs != 0
        given = " ".join((action.option_strings and [", ".join(action.option_strings)]) or [])
        shown = {"?": f"[{value}]", "+": f"{value}…", "*": f"[{value}…]"}.get(
            str(action.nargs), value
        )
        helped = (action.help or "") % {**vars(action), "prog": command.prog}
        yield code(" ".join(filter(None, (given, shown if takes else "")))), helped


# Metrics.


def metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "`/metrics`, as Prometheus text. What to watch for is in"
    yield "[Operations](../operations.md#metrics)."
    yield ""
    yield from table("metric", "kind", "meaning", rows=_metrics())


def _metrics() -> Iterator[tuple[str, str, str]]:
    for family in Metrics().registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        yield code(family.name + suffix), family.type, family.documentation


# Log events.


def log_events() -> Iterator[str]:
    yield "# Log events"
    yield ""
    yield "Each line of the log is a JSON object with `time`, `level` and `event`, and these fields"
    yield "beside it. What they mean is in [Operations](../operations.md#log)."
    yield ""
    yield from table("event", "level", "fields", "written by", rows=sorted(_logged()))


def _logged() -> Iterator[tuple[str, str, str, str]]:
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (
                level := re.fullmatch(
                    r"_?log\.(debug|info|warning|error|exception|critical)", ast.unparse(node.func)
                )
            ):
                event = ast.literal_eval(node.args[0])
                place = path.relative_to(ROOT).as_posix()
                yield code(event), level[1], ", ".join(map(code, _fields(node))), code(place)


def _fields(call: ast.Call) -> list[str]:
    extra = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
    keys = [key for one in extra if isinstance(one, ast.Dict) for key in one.keys]
    return [str(key.value) for key in keys if isinstance(key, ast.Constant)]


# Messages.


def messages() -> Iterator[str]:
    api = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text(encoding="utf-8"))
    yield "# Messages and codes"
    yield ""
    yield "Written from [`asyncapi.yaml`](../asyncapi.yaml), an AsyncAPI 3 document with a JSON"
    yield "Schema for each message. [Protocol](../protocol.md) says what a client does with them."
    yield ""
    for operation, heading in (
        ("command", "From client to server"),
        ("tell", "From server to client"),
    ):
        yield f"## {heading}"
        yield ""
        for one in api["operations"][operation]["messages"]:
            yield from _message(one["$ref"].rpartition("/")[2], api["components"])
    yield "## Error codes"
    yield ""
    yield "In `error` messages; [what each means](../protocol.md#error-codes)."
    yield ""
    yield from (f"- {code(str(one))}" for one in ErrorCode)
    yield ""
    yield "## Close codes"
    yield ""
    yield "Of the WebSocket; [what each means](../protocol.md#close-codes)."
    yield ""
    yield from table(
        "code", "name", rows=((one.value, code(one.name.lower())) for one in CloseCode)
    )


def _message(name: str, components: dict[str, Any]) -> Iterator[str]:
    message = components["messages"][name]
    payload = message["payload"]
    yield f"### `{name}`"
    yield ""
    yield message["summary"]
    yield ""
    rows = (
        (
            code(field),
            _form(what, components),
            "yes" if field in payload["required"] else "",
            _said(what, components),
        )
        for field, what in payload["properties"].items()
    )
    yield from table("field", "form", "always", "meaning", rows=rows)
    yield "```json"
    for example in message["examples"]:
        yield json.dumps(example["payload"], ensure_ascii=False)
    yield "```"
    yield ""


def _resolved(what: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in what:
        return what
    found: dict[str, Any] = components["schemas"][what["$ref"].rpartition("/")[2]]
    return found


def _form(what: dict[str, Any], components: dict[str, Any]) -> str:
    found = _resolved(what, components)
    if "const" in found:
        return code(found["const"])
    if "enum" in found:
        return ", ".join(code(value) for value in found["enum"])
    if "oneOf" in found:
        return " or ".join(_form(one, components) for one in found["oneOf"])
    kinds = found.get("type", "any JSON")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _said(what: dict[str, Any], components: dict[str, Any]) -> str:
    return str(_resolved(what, components).get("description", ""))


PAGES = {
    "config": config_keys,
    "commands": commands,
    "metrics": metrics,
    "log": log_events,
    "messages": messages,
}
