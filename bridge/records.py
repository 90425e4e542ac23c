"""What a migration notes down at each capture function, in its COMMENT: JSON, for later looks.

It names the table and holds a digest of what the function does, one of what it was asked
to do, the condition as it was written, and, where the config says `exclude`, the columns
that were sent at that time. A column that came later was looked at by nobody, so it is not
sent before the next one.

The second digest tells a function that another version of the bridge wrote from one that
is wrong: it was asked for the same, and is as it was written.

Names are a hash: PostgreSQL cuts names at 63 bytes without a word, and two that are cut
to the same one would overwrite each other.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.tables import Column, Table

FORMAT = 2
_OURS = "rowcast: "


def suffix(table: Table, schema: str) -> str:
    """What tells the table's objects from those of others, and of other bridges."""
    return sha256(f"{schema}\0{table.name}".encode()).hexdigest()[:12]


def function(table: Table, schema: str) -> str:
    """The name of its capture function."""
    return f"capture_{suffix(table, schema)}"


def digest(text: str, settings: Iterable[tuple[str, str]]) -> str:
    """Of what a function does. White space does not count: migration files are re-indented."""
    words = " ".join(text.split())
    return sha256(repr((words, sorted(settings))).encode()).hexdigest()


def audit(table: Table, schema: str) -> str:
    """The name of the function that writes down who changed it."""
    return f"audit_{suffix(table, schema)}"


def comment(table: Table, digest: str, asked: str | None = None) -> str:
    """What is written at the function; `asked` is what of it, if it is not capture."""
    record: dict[str, Any] = {"format": FORMAT, "table": table.name, "sha256": digest}
    if asked is not None:
        return _OURS + json.dumps(record | {"asks": asked}, ensure_ascii=False)
    record |= {"asks": asks(table)}
    record |= {"where": table.where} if table.where else {}
    record |= {"sent": list(table.sent)} if table.sent is not None else {}
    return _OURS + json.dumps(record, ensure_ascii=False)


def asks(table: Table) -> str:
    """A digest of what is asked of capture, the same in every version of the bridge.

    An option that a version adds may only count where it is used, or every table of the
    version before would look wrong.
    """
    parent = table.parent
    asked = {
        "name": table.name,
        "key": _types(table.key),
        "routing": _types(table.routing),
        "where": table.where,
        "operations": sorted(table.operations),
        "changed": table.changed,
        "trigger": table.trigger,
        "position": table.position and table.position.name,
        "durable": table.durable,
        "served": table.served,
        "parent": parent
        and [parent.table, _types(parent.columns), _types(parent.key), parent.durable],
    }
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _types(columns: Iterable[Column]) -> list[list[str]]:
    return [[column.name, column.type] for column in columns]


def another_version(wanted: str, written: str, digest: str) -> bool:
    """Of two comments: whether the function, whose digest is given, is untouched and was asked
    for the same."""
    found, ours = _read(written), _read(wanted)
    asked = found.get("asks")
    return asked is not None and asked == ours.get("asks") and found.get("sha256") == digest


def frozen(
    tables: Mapping[str, Table], comments: Mapping[str, str], schema: str
) -> dict[str, Table]:
    """The tables with the columns of the last migration; `comments` are those of functions."""
    return {
        name: _frozen(table, comments.get(function(table, schema)))
        for name, table in tables.items()
    }


def _frozen(table: Table, written: str | None) -> Table:
    if written is None:
        return table
    sent = _read(written).get("sent")
    if table.sent is None or sent is None:
        return replace(table, sent=sent and tuple(sent))
    columns = tuple(name for name in table.columns if name in sent)
    return replace(table, columns=columns, sent=tuple(sent))


def _read(written: str) -> dict[str, Any]:
    try:
        found = json.loads(written.removeprefix(_OURS))
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}
