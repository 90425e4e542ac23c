"""One value of the config each: what YAML read → what the bridge works with.

Every function takes `Data` and raises `ValueError` with the value and the remedy; the
place is added by the caller. `shown` is the one way a value gets into a message.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bridge.config import AuditConfig
from bridge.config.source import Filled, Scalar
from bridge.topics import Template

if TYPE_CHECKING:
    from bridge.config.source import Data

_PART = re.compile(r'"(?:[^"]|"")+"|[^."\s]+')
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

OPERATIONS = ("insert", "update", "delete")
TRIGGERS = ("statement", "row")
ALL = "all"
"""Every column, said in writing."""
MODES = ("state", "log")


def shown(value: object) -> str:
    """A value for a message: short, and never what the environment put into it."""
    if isinstance(value, Filled):
        return f"'{value.source}', once filled in,"
    if isinstance(value, Scalar):
        return value.text or "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    return "a list" if isinstance(value, list) else "a mapping"


def text(value: Data) -> str:
    """Text that YAML also takes for text."""
    if isinstance(value, str) and value:
        return value
    raise ValueError(_not_text(value))


def _not_text(value: Data) -> str:
    if value == "" or (isinstance(value, Scalar) and value.kind == "null"):
        return "is empty; write a value, or remove the key"
    if isinstance(value, Scalar):
        return f"{value.text} is {value.reading} to YAML; quote it: '{value.text}'"
    remedy = "; quote what starts with '{'" if isinstance(value, dict) else ""
    return f"must be text, not {shown(value)}{remedy}"


def flag(value: Data) -> bool:
    """`true` or `false`, and nothing else that YAML 1.1 takes for them."""
    plain = value.text if isinstance(value, Scalar) else value if isinstance(value, Filled) else ""
    if plain in ("true", "false"):
        return plain == "true"
    raise ValueError(f"{shown(value)} must be written true or false")


def identifier(value: Data) -> str:
    """A column's or a table's name, exactly as in the catalog."""
    name = text(value)
    if len(name.encode()) > 63:
        raise ValueError(f"{shown(value)} is over 63 bytes, the longest name PostgreSQL has")
    return name


def relation(value: Data) -> tuple[str | None, str]:
    """`orders`, `billing.orders`, `billing."Invoice 2024"`, `[billing, orders]`."""
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError("must be [schema, name] as a list")
        return identifier(value[0]), identifier(value[1])
    written = text(value)
    parts = _PART.findall(written)
    if ".".join(parts) != written:
        raise ValueError(
            f"""{shown(value)} is not a table; quote odd names: 'billing."Odd name"'"""
        )
    if len(parts) > 2:
        raise ValueError(f"{shown(value)} has {len(parts)} parts; write schema.name, quoting dots")
    names = [identifier(_unquoted(part)) for part in parts]
    return (names[0] if len(names) == 2 else None), names[-1]


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def public_name(value: Data) -> str:
    """A table's name as subscribers see it: one segment of a topic."""
    name = text(value)
    bad = next((c for c in name if c in "/{}%" or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        raise ValueError(f"a public name cannot hold {bad!r}; rename it, and name it in `table`")
    if len(name) > 63:
        raise ValueError("a public name has at most 63 characters; shorten it, and use `table`")
    return name


def template(value: Data) -> Template:
    """`customers/{customer_id}/orders`."""
    written = text(value)
    try:
        parsed = Template.parse(written)
    except ValueError as error:
        # The complaint quotes a part of the value; the environment's is not to be shown.
        reason = "is not a topic template" if isinstance(value, Filled) else error
        raise ValueError(f"{shown(value)}: {reason}") from None
    if len(set(parsed.columns)) < len(parsed.columns):
        raise ValueError(f"{shown(value)} has a column twice; once is enough")
    return parsed


def operation(value: Data) -> str:
    """`insert`, `update` or `delete`."""
    return _one_of(OPERATIONS, value)


def mode(value: Data) -> str:
    """`state` or `log`."""
    return _one_of(MODES, value)


def trigger(value: Data) -> str:
    """`statement` or `row`."""
    return _one_of(TRIGGERS, value)


def audit(value: Data) -> AuditConfig | None:
    """`true`, `false`, or `{values: true}` or `{values: [a, b]}`."""
    if not isinstance(value, dict):
        try:
            return AuditConfig() if flag(value) else None
        except ValueError:
            message = f"{shown(value)} must be true, or false, or a mapping with values"
            raise ValueError(message) from None
    if unknown := [name for name in value if name != "values"]:
        raise ValueError(f"{shown(unknown[0])} is not a key here; known is values")
    return AuditConfig(_audited(value.get("values", [])))


def _audited(value: Data) -> tuple[str, ...] | None:
    if isinstance(value, list):
        return tuple(map(identifier, value))
    try:
        return None if flag(value) else ()
    except ValueError:
        raise ValueError(f"values: {shown(value)} must be true or a list of columns") from None


def _one_of(words: tuple[str, ...], value: Data) -> str:
    if isinstance(value, str) and value in words:
        return str(value)
    raise ValueError(f"{shown(value)} must be {', '.join(words[:-1])} or {words[-1]}")


def schema_name(value: Data) -> str:
    """The bridge's own schema, which is its NOTIFY channel too."""
    name = text(value)
    if not _SCHEMA.fullmatch(name):
        raise ValueError(f"{shown(value)} must be 1 to 63 of a-z, 0-9 and _, not a digit first")
    if name.startswith("pg_"):
        raise ValueError(f"{shown(value)}: PostgreSQL keeps names with pg_ for itself")
    return name


def role(value: Data) -> str:
    """A role of the database."""
    name = text(value)
    if name.lower() in ("none", "public") or len(name.encode()) > 63:
        raise ValueError(f"{shown(value)} cannot be the name of a role; say which one is meant")
    return name


def host(value: Data) -> str:
    """An address or a name to bind to."""
    written = text(value)
    try:
        ipaddress.ip_address(written)
    except ValueError:
        if not _HOST.fullmatch(written):
            message = f"{shown(value)} is not an address or a host name; server.port has the port"
            raise ValueError(message) from None
    return written


def is_loopback(host: str) -> bool:
    """Whether an address or a host name can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network(value: Data) -> str:
    """An address, or a network as `10.0.0.0/8`."""
    written = text(value)
    try:
        return str(ipaddress.ip_network(written))
    except ValueError:
        message = f"{shown(value)} is not an address or a network; write it like 10.0.0.0/8"
        raise ValueError(message) from None


def origin(value: Data) -> str:
    """`https://app.example.com`, in the one spelling that browsers send."""
    written = text(value)
    if "*" in written:
        raise ValueError(f"{shown(value)} has a '*'; list each origin")
    match = _ORIGIN.fullmatch(written)
    if not match:
        raise ValueError(
            f"{shown(value)} is not an origin; write scheme://host[:port] in lower case, no path"
        )
    if match["port"] and int(match["port"]) > 65_535:
        raise ValueError(f"{shown(value)}: a port is at most 65535")
    if match["port"] and match["port"] == _DEFAULT_PORTS.get(match["scheme"]):
        raise ValueError(f"{shown(value)}: browsers leave :{match['port']} out; so must this")
    return written


def conninfo(value: Data) -> str:
    """A libpq URI or `key=value` string; messages never quote from it."""
    written = text(value)
    scheme = re.match(r"([a-z][a-z0-9+]{0,20})://", written)
    if scheme and scheme[1] not in ("postgresql", "postgres"):
        raise ValueError(f"{scheme[1]}:// is not PostgreSQL's; write postgresql://…")
    try:
        conninfo_to_dict(written)
    except psycopg.Error as error:
        reason = re.sub(r'".*"', "…", str(error).strip(), flags=re.DOTALL)
        remedy = "write postgresql://user:password@host/name, %-encoding special characters"
        raise ValueError(f"is not a connection string ({reason}); {remedy}") from None
    return written
