"""YAML source → model → `Config`, or one `ConfigError` with every problem in order."""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bridge.config import (
    EVENTS,
    Config,
    LimitsConfig,
    ServerConfig,
    TableConfig,
    TlsConfig,
    values,
)
from bridge.config.auth import AuthConfig, JwtConfig, RlsConfig, Rule
from bridge.config.auth_model import Auth
from bridge.config.checks import findings
from bridge.config.events import published
from bridge.config.model import SECTIONS, File, Server, Table, keys
from bridge.config.source import REFUSED, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from bridge.config.source import Source


def read(text: str, file: str, env: Mapping[str, str]) -> Config:
    """A config file's text → what it says. Raises `ConfigError`."""
    source = parse(text, file, env)
    model = _validated(source)
    for path, message in findings(source):
        source.complain(message, path)
    database = (model and model.database) or _from_environment(source)
    if model is None or source.problems:
        raise source.error()
    config = _config(model, database, source)
    if config.exposed:
        source.complain(config.exposed, ("server", "host"))
        raise source.error()
    return config


def _validated(source: Source) -> File | None:
    try:
        return File.model_validate(source.data)
    except ValidationError as error:
        # Not raised on from here: pydantic's error holds the values, passwords too.
        details = error.errors(include_url=False)
    for detail in details:
        _report(detail, source)
    return None


def _report(detail: ErrorDetails, source: Source) -> None:
    path, found = detail["loc"], detail["input"]
    if detail["type"] == "extra_forbidden":
        source.complain(_unknown(path), path, source.keys[path])
    elif path[2:] == ("[key]",) or (path[2:3] == ("through",) and path[4:] == ("[key]",)):
        path = path[:-1]  # pydantic's step for the key itself: a table's name, an own column
        source.complain(_message(detail), path, source.keys[path])
    elif found is not REFUSED and not (isinstance(found, list) and REFUSED in found):
        source.complain(_message(detail), path)


def _message(detail: ErrorDetails) -> str:
    found = detail["input"]
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "missing":
            return f"is missing; {_MISSING[detail['loc'][-1]]}"
        case "too_short" if detail["loc"][-1] == "through":
            return "is empty; write own_column: its_key_column, or remove the key"
        case "too_short" if detail["loc"][-1] == "allow":
            return "is an empty list, which allows nothing to anybody; write a rule"
        case "too_short":
            return "is an empty list; remove the key for the default"
        case "list_type":
            return _not_a("a list", found, "[a, b]")
        case _:
            return _not_a("a mapping", found, "key: value")


_MISSING: dict[str | int, str] = {
    "jwt": "say how tokens are verified",
    "allow": "nothing is allowed but what a rule here allows",
    "topic": "say which topics the rule allows",
    "role": "say which role rows are read under",
    "cert": "name the certificate's file",
    "key": "name the file of the certificate's key",
}


def _not_a(kind: str, found: Any, example: str) -> str:
    shown = values.shown(found)
    if shown == "nothing":
        return "is empty; write a value, or remove the key"
    return f"must be {kind}, such as `{example}`, not {shown}"


def _unknown(path: tuple[str | int, ...]) -> str:
    section, key = _section(path), str(path[-1])
    if homes := [other for other in SECTIONS if key in keys(other)]:
        return f"not a key here; it belongs {_where(homes[0])}"
    if similar := difflib.get_close_matches(key, keys(section), 1):
        return f"unknown key (did you mean '{similar[0]}'?)"
    return f"unknown key; known here are {', '.join(keys(section))}"


def _section(path: tuple[str | int, ...]) -> str:
    """`("auth", "allow", 0, "topic")` → `auth.allow`."""
    names = [str(step) for step in path[:-1] if isinstance(step, str)]
    return "tables" if names[:1] == ["tables"] else ".".join(names[:2])


def _where(section: str) -> str:
    if section == "tables":
        return "to a table, under `tables`"
    return f"under `{section}`" if section else "at the top of the file"


def _from_environment(source: Source) -> str:
    if "database" in source.data:
        return ""
    written = source.env.get("DATABASE_URL", "")
    try:
        if written:
            return values.conninfo(written)
        source.complain("is missing; write it, or set DATABASE_URL", ("database",))
    except ValueError as error:
        source.complain(f"DATABASE_URL in the environment {error}", ("database",))
    return ""


_OF_THE_FILE = (
    "events",
    "reconcile",
    "retention",
    "retention_size",
    "audit_retention",
    "definer",
)


def _config(model: File, database: str, source: Source) -> Config:
    defaults = _given(model, "debounce", "max_wait", "leading", "durable")
    given = (model.tables or {}).items()
    tables = {name: _table(name, table, defaults, source) for name, table in given}
    schema = model.schema_ or Config.schema
    places = source.places
    if model.events:
        tables = {EVENTS: published(schema)} | tables
        places = places | {("tables", EVENTS): places["events",]}
    return Config(
        file=source.file,
        database=database,
        listen=model.listen or database,
        schema=schema,
        tables=MappingProxyType(tables),
        auth=_auth(model.auth) if isinstance(model.auth, Auth) else model.auth,
        server=_server(model.server),
        limits=LimitsConfig(**_given(model.limits)),
        places=MappingProxyType(places),
        **_given(model, *_OF_THE_FILE),
    )


def _table(name: str, table: Table, defaults: dict[str, Any], source: Source) -> TableConfig:
    given = {"table": table.table or values.relation(name)} | defaults | _given(table)
    return TableConfig(name=name, line=source.places["tables", name][0], **given)


def _server(server: Server | None) -> ServerConfig:
    given = _given(server)
    if server is not None and server.tls is not None:
        given["tls"] = TlsConfig(server.tls.cert, server.tls.key)
    return ServerConfig(**given)


def _auth(auth: Auth) -> AuthConfig:
    rules = tuple(Rule(rule.topic, rule.when or {}) for rule in auth.allow)
    rls = RlsConfig(**_given(auth.rls)) if auth.rls else None
    return AuthConfig(JwtConfig(**_given(auth.jwt)), rules, auth.inspect, rls)


def _given(section: BaseModel | None, *only: str) -> dict[str, Any]:
    """What the file says; the rest is left to the dataclasses' defaults."""
    names = only or tuple(section.model_fields_set if section else ())
    found = {name: getattr(section, name) for name in names}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in found.items()
        if value is not None
    }
