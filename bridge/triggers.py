"""Desired against installed: which statements bring capture to what the config says.

Pure. `desired` names what should be there, `inventory.installed` says what is, and
`plan` is the difference, as steps of one transaction each. What is ours is known by
two things together, never by one: a trigger whose name begins with `rowcast_` and
whose function lives in the bridge's schema. Nothing else is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from psycopg import sql

from bridge import audit, ddl, event_store, ownership, records, storage, versions
from bridge.capture import body, keeps
from bridge.ddl import Function
from bridge.steps import Plan as Plan
from bridge.steps import Step as Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.installed import Installed, InstalledFunction, InstalledTrigger
    from bridge.tables import Table

_Shapes: TypeAlias = "dict[str, tuple[int, str | None, str | None]]"

# pg_trigger.tgtype of an AFTER trigger, and its transition tables.
_STATEMENT: _Shapes = {
    "insert": (4, None, "new_rows"),
    "update": (16, "old_rows", "new_rows"),
    "delete": (8, "old_rows", None),
    "truncate": (32, None, None),
}
_ROW: _Shapes = {
    "insert": (5, None, None),
    "update": (17, None, None),
    "delete": (9, None, None),
    "truncate": (32, None, None),
}
_SHAPES = {"statement": _STATEMENT, "row": _ROW}

WRITERS_WAIT = "SHARE ROW EXCLUSIVE"
"""The lock of CREATE and ENABLE TRIGGER: readers go on, writers wait."""

ALL_WAIT = "ACCESS EXCLUSIVE"
"""The lock of DROP TRIGGER: readers wait as well."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What one watched table should have: a function and a trigger per event. `purpose` is empty
    for capture itself."""

    table: Table
    schema: str
    wanted: Function
    triggers: Mapping[str, str]
    digest: str
    purpose: str = ""

    @property
    def function(self) -> str:
        return self.wanted.name

    @property
    def comment(self) -> str:
        return self.wanted.comment

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.function)


def desired(tables: Iterable[Table], schema: str) -> tuple[Capture, ...]:
    """What should be installed for these tables by a bridge whose own schema is `schema`."""
    return tuple(capture for table in tables for capture in _captures(table, schema))


def plan(
    captures: Iterable[Capture], installed: Installed, schema: str, definer: str | None = None
) -> Plan:
    """The steps from `installed` to `captures`: first what is missing, then whose it is to be,
    then what is too much."""
    captures = tuple(captures)
    functions = {function.name: function for function in installed.functions}
    triggers = {(trigger.table, trigger.name): trigger for trigger in installed.triggers}
    steps = [_bring(capture, functions.get(capture.function), triggers) for capture in captures]
    kept = {(c.table.oid, name) for c in captures for name in c.triggers.values()}
    stale = [trigger for place, trigger in triggers.items() if place not in kept]
    used = {capture.function for capture in captures}
    unused = [function for name, function in sorted(functions.items()) if name not in used]
    tables = [capture.table for capture in captures]
    stores = storage.needed(iter(tables))
    published = event_store.wanted(tables, schema)
    events = tuple(event_store.steps(schema, installed, wanted=published))
    return Plan(
        (
            *(_mark(schema, installed) if captures else ()),
            *(_create_store(schema, store) for store in sorted(stores - installed.stores)),
            *(events if published else ()),
            *filter(None, steps),
            *_owned(captures, installed, schema, definer),
            *_drop_triggers(stale),
            *_drop_functions(schema, unused),
            *(() if published else events),
            *(_drop_store(schema, store) for store in sorted(_unused(installed, stores))),
        )
    )


def _owned(
    captures: tuple[Capture, ...], installed: Installed, schema: str, definer: str | None
) -> Iterator[Step]:
    """Of what stays or comes."""
    tables = [capture.table for capture in captures]
    stores = storage.needed(iter(tables))
    writers = [
        ownership.Writer(capture.function, "", "audit" if capture.purpose else _store(capture))
        for capture in captures
        if capture.wanted.definer
    ]
    if event_store.wanted(tables, schema):
        stores |= {"events"}
        writers += ownership.publishing()
    yield from ownership.steps(schema, installed, stores, writers, definer)


def _store(capture: Capture) -> str:
    return "log" if capture.table.log else "changes"


def _unused(installed: Installed, needed: set[str]) -> set[str]:
    """What was audited is not dropped, whatever the config says now."""
    return set(installed.stores - needed - ({"audit"} if installed.audited else set()))


def _mark(schema: str, installed: Installed) -> Iterator[Step]:
    """Comments can get lost, in a dump without them say."""
    if installed.epoch and versions.read(installed.mark) is None:
        note = sql.SQL("COMMENT ON TABLE {} IS {}")
        epoch = sql.Identifier(schema, "epoch")
        texts = [
            note.format(epoch, sql.Literal(text or None)).as_string(None)
            for text in (versions.comment(), installed.mark)
        ]
        finding = f"{schema}.epoch does not say of which version it is"
        yield Step(schema, finding, "note the version", (texts[0],), undo=(texts[1],), grave=False)


def _create_store(schema: str, store: str) -> Step:
    create, drop = storage.create(schema, store), storage.drop(schema, store)
    return Step(schema, f"{schema}.{store} is missing", f"create {store}", (create,), undo=(drop,))


def _drop_store(schema: str, store: str) -> Step:
    create, drop = storage.create(schema, store), storage.drop(schema, store)
    finding = f"{schema}.{store} is not used"
    return Step(schema, finding, f"drop {store}", (drop,), undo=(create,))


def _captures(table: Table, schema: str) -> Iterator[Capture]:
    suffix = records.suffix(table, schema)
    names = {event: f"rowcast_{event}_{suffix}" for event in _events(table)}
    text, settings = body(table, schema), ddl.settings(table)
    digest = records.digest(text, (*_ALWAYS, *settings))
    name, comment = records.function(table, schema), records.comment(table, digest)
    yield Capture(
        table, schema, Function(name, text, settings, keeps(table), comment), names, digest
    )
    if table.audit:
        yield _audit(table, schema, suffix)


def _audit(table: Table, schema: str, suffix: str) -> Capture:
    names = {event: f"rowcast_audit_{event}_{suffix}" for event in _STATEMENT}
    text, settings = audit.body(table, schema), audit.settings(table)
    digest = records.digest(text, (*_ALWAYS, *settings))
    comment = records.comment(table, digest, audit.asks(table))
    wanted = Function(records.audit(table, schema), text, settings, True, comment)
    return Capture(table, schema, wanted, names, digest, "audit")


def _events(table: Table) -> Iterator[str]:
    if table.log:
        yield "insert"
        return
    yield from (event for event in _STATEMENT if event in table.operations)
    if "delete" in table.operations:
        yield "truncate"


_ALWAYS = (("search_path", "pg_catalog, pg_temp"), ("jit", "off"))


def _bring(
    capture: Capture,
    function: InstalledFunction | None,
    triggers: Mapping[tuple[int, str], InstalledTrigger],
) -> Step | None:
    """One step that gives one table what it lacks; None if it lacks nothing."""
    table = capture.table
    wrong: dict[str, list[str]] = {}
    statements: list[str] = []
    undo: list[str] = []
    lock = ""
    if complaint := _complaint(capture, function):
        wrong[complaint] = ["function"]
        statements += ddl.function(capture.schema, capture.wanted)
        undo += function.definition if function else [ddl.drop(capture.schema, capture.function)]
    for event, name in capture.triggers.items():
        found = triggers.get((table.oid, name))
        if complaint := _difference(capture, event, found):
            wrong.setdefault(complaint, []).append(f"{event} trigger")
            statements += _mend(capture, event, complaint)
            undo = [_drop(name, table.identifier), *(found.definition if found else ()), *undo]
            lock = max(lock, _LOCKS[complaint], key=_SEVERITY.index)
    if not wrong:
        return None
    of = f"{capture.purpose} " if capture.purpose else ""
    finding = "; ".join(f"{of}{', '.join(parts)} {word}" for word, parts in wrong.items())
    summary = f"set up {of}triggers" if lock else f"replace the {of or 'trigger '}function"
    relation = f"{table.schema}.{table.relation}"
    grave = wrong.keys() != {_OTHER}
    return Step(table.name, finding, summary, tuple(statements), lock, tuple(undo), relation, grave)


_MISSING, _CHANGED, _DISABLED = "missing", "not what the config asks for", "disabled"
_OTHER = "as another version of the bridge wrote it"
_LOCKS = {_MISSING: WRITERS_WAIT, _CHANGED: ALL_WAIT, _DISABLED: WRITERS_WAIT}
_ENABLED = {"statement": "OA", "row": "A"}
"""Values of tgenabled that do; what replication applies fires only A."""
_SEVERITY = ("", WRITERS_WAIT, ALL_WAIT)


def _complaint(capture: Capture, function: InstalledFunction | None) -> str:
    if function is None:
        return _MISSING
    digest = records.digest(function.body, function.settings)
    if function.security_definer != capture.wanted.definer:
        return _CHANGED
    if function.comment == capture.comment and capture.digest == digest:
        return ""
    other = records.another_version(capture.comment, function.comment, digest)
    return _OTHER if other and capture.digest != digest else _CHANGED


def _difference(capture: Capture, event: str, found: InstalledTrigger | None) -> str:
    if found is None:
        return _MISSING
    mode = capture.table.trigger
    if found.shape != _SHAPES[mode][event] or found.function != capture.function:
        return _CHANGED
    return "" if found.enabled in _ENABLED[mode] else _DISABLED


def _mend(capture: Capture, event: str, complaint: str) -> Iterator[str]:
    name, table = capture.triggers[event], capture.table
    if complaint == _DISABLED:
        yield ddl.enable(name, table)
        return
    if complaint == _CHANGED:
        yield _drop(name, table.identifier)
    yield from ddl.trigger(name, event, table, capture.identifier)


def _drop_triggers(stale: Iterable[InstalledTrigger]) -> Iterator[Step]:
    ordered = sorted(stale, key=lambda trigger: (trigger.schema, trigger.relation, trigger.name))
    for (schema, relation), group in groupby(ordered, lambda t: (t.schema, t.relation)):
        found = list(group)
        table = sql.Identifier(schema, relation)
        statements = tuple(_drop(trigger.name, table) for trigger in found)
        undo = tuple(text for trigger in found for text in trigger.definition)
        finding = "has triggers that the config does not ask for"
        place = f"{schema}.{relation}"
        yield Step(place, finding, "drop triggers", statements, ALL_WAIT, undo, place)


def _drop_functions(schema: str, unused: Iterable[InstalledFunction]) -> Iterator[Step]:
    for function in unused:
        finding = f"function {function.name} is not used"
        statements = (ddl.drop(schema, function.name),)
        summary = f"drop function {function.name}"
        yield Step(schema, finding, summary, statements, undo=function.definition)


def _drop(name: str, table: sql.Identifier) -> str:
    return (
        sql.SQL("DROP TRIGGER IF EXISTS {} ON {}")
        .format(sql.Identifier(name), table)
        .as_string(None)
    )
