"""The plan from what is installed to what is desired."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge import capture, ddl, versions
from bridge.installed import Installed, InstalledFunction, InstalledTrigger
from bridge.tables import SETTINGS, Column, Table
from bridge.topics import Template
from bridge.triggers import ALL_WAIT, WRITERS_WAIT, Capture, desired, plan

ID = Column("id", "pg_catalog.int8", "int8")
SHAPES = {
    "insert": (4, None, "new_rows"),
    "update": (16, "old_rows", "new_rows"),
    "delete": (8, "old_rows", None),
    "truncate": (32, None, None),
}


def table(name: str = "orders", oid: int = 1, key: tuple[Column, ...] = (ID,)) -> Table:
    whole = Template(name, (name,), ())
    return Table(name, "public", name, oid, key, ("id",), (whole,))


def installed(*captures: Capture) -> Installed:
    """What the catalog would show after a migration."""
    triggers = tuple(
        InstalledTrigger(
            c.table.oid, c.table.schema, c.table.relation, name, c.function, SHAPES[event]
        )
        for c in captures
        for event, name in c.triggers.items()
    )
    settings = frozenset({("search_path", "pg_catalog, pg_temp"), ("jit", "off")})
    functions = tuple(
        InstalledFunction(c.function, c.comment, capture.body(c.table, c.schema), settings)
        for c in captures
    )
    mark = versions.comment()
    return Installed(True, True, mark, triggers=triggers, functions=functions)


def test_names_fit_whatever_the_table_is_called() -> None:
    captures = desired([table("o" * 200), table("o" * 201), table('é"' * 90)], "rowcast")
    names = [name for c in captures for name in (c.function, *c.triggers.values())]
    assert len(set(names)) == len(names)
    assert max(len(name.encode()) for name in names) <= 63


def test_names_differ_between_schemas() -> None:
    (one,), (other,) = desired([table()], "one"), desired([table()], "other")
    assert not {one.function, *one.triggers.values()} & {other.function, *other.triggers.values()}


def test_everything_is_there() -> None:
    captures = desired([table(), table("items", 2)], "rowcast")
    assert not plan(captures, installed(*captures), "rowcast")


def test_nothing_is_there() -> None:
    captures = desired([table(), table("items", 2)], "rowcast")
    steps = plan(captures, Installed(), "rowcast").steps
    assert [(step.table, step.lock) for step in steps] == [
        ("orders", WRITERS_WAIT),
        ("items", WRITERS_WAIT),
    ]
    assert [len(step.statements) for step in steps] == [6, 6]


def test_a_new_body_locks_no_table() -> None:
    before = desired([table()], "rowcast")
    after = desired([table(key=(replace(ID, base="numeric"),))], "rowcast")
    (step,) = plan(after, installed(*before), "rowcast").steps
    assert step.lock == ""
    assert [text.split()[0] for text in step.statements] == ["CREATE", "COMMENT"]


def test_indentation_is_no_difference() -> None:
    captures = desired([table()], "rowcast")
    found = installed(*captures)
    (function,) = found.functions
    indented = replace(function, body=function.body.replace("\n", "\n        "))
    assert not plan(captures, replace(found, functions=(indented,)), "rowcast")


@pytest.mark.parametrize(
    ("change", "first", "lock"),
    [
        ({"enabled": "D"}, "ALTER TABLE", WRITERS_WAIT),
        ({"enabled": "R"}, "ALTER TABLE", WRITERS_WAIT),
        ({"shape": None}, "DROP TRIGGER", ALL_WAIT),
        ({"shape": (5, None, "new_rows")}, "DROP TRIGGER", ALL_WAIT),
        ({"function": "capture_other"}, "DROP TRIGGER", ALL_WAIT),
    ],
)
def test_an_altered_trigger(change: dict[str, object], first: str, lock: str) -> None:
    captures = desired([table()], "rowcast")
    found = installed(*captures)
    insert, *others = found.triggers
    altered = replace(insert, **change)
    (step,) = plan(captures, replace(found, triggers=(altered, *others)), "rowcast").steps
    assert step.statements[0].startswith(first)
    assert step.lock == lock


def test_what_is_no_longer_wanted_goes_last_and_functions_after_triggers() -> None:
    (orders, items) = desired([table(), table("items", 2)], "rowcast")
    steps = plan([items], installed(orders), "rowcast").steps
    assert [step.table for step in steps] == ["items", "public.orders", "rowcast"]
    assert [step.lock for step in steps] == [WRITERS_WAIT, ALL_WAIT, ""]


def test_a_public_name_that_moves_to_another_table() -> None:
    """Same names, another oid: nothing of the old table may stay."""
    before = desired([table(oid=1)], "rowcast")
    after = desired([replace(table(oid=2), relation="bookings")], "rowcast")
    steps = plan(after, installed(*before), "rowcast").steps
    assert [step.table for step in steps] == ["orders", "public.orders"]
    assert all("bookings" in text for text in steps[0].statements)


@pytest.mark.parametrize(
    ("column", "steady"),
    [
        (Column("k", "pg_catalog.int8", "int8"), True),
        (Column("k", "pg_catalog.timestamptz", "timestamptz"), True),
        (Column("k", "pg_catalog.bytea", "bytea"), False),
        (Column("k", "public.text", "text", builtin=False), False),
    ],
)
def test_settings_only_for_types_whose_text_follows_the_session(
    column: Column, steady: bool
) -> None:
    assert dict(ddl.settings(table(key=(column,)))) == ({} if steady else SETTINGS)


def test_a_public_name_is_ascii_in_the_payload() -> None:
    assert capture.body(table('ün"i'), "rowcast").isascii()
