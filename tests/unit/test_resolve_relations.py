"""Entries that speak of more than their own table: documents, and what they refresh."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import loads
from bridge.errors import CatalogError
from bridge.resolve import resolve
from bridge.tables import OPERATIONS, Column, ForeignKey, Relation, Table


def column(name: str, base: str = "int8", *, virtual: bool = False) -> Column:
    return Column(name, f"pg_catalog.{base}", base, virtual=virtual)


def relation(name: str, oid: int, *columns: Column, **changes: Any) -> Relation:
    values: dict[str, Any] = {
        "schema": "public",
        "kind": "r",
        "owner": "app",
        "is_partition": False,
        "row_security": False,
        "primary_key": (columns[0].name,),
        "unique": ((columns[0].name,),),
        "foreign_keys": (),
    }
    return Relation(oid=oid, name=name, columns=columns, **values | changes)


ORDERS = relation("orders", 1, column("id"), column("note", "text"))
TENANT_KEY = {"primary_key": ("tenant", "id"), "unique": (("tenant", "id"),)}
TENANT = relation("orders", 1, column("tenant"), column("id", "text"), **TENANT_KEY)
COLUMNS = column("id"), column("order_id", "int4"), column("other"), column("tenant")
TO_ORDERS = ForeignKey(("order_id",), 1, ("id",))
ALSO_TO_ORDERS = ForeignKey(("other",), 1, ("id",))
TO_TENANT = ForeignKey(("order_id", "tenant"), 1, ("id", "tenant"))
DOCUMENT = relation(
    "docs", 9, column("id"), column("total"), column("items", "json"), kind="v", primary_key=None
)


def items(*keys: ForeignKey, **changes: Any) -> Relation:
    return relation("items", 2, *COLUMNS, foreign_keys=keys, **changes)


def tables(text: str, *relations: Relation) -> dict[str, Table]:
    config = loads(f"database: postgresql://x/y\ntables:\n{text}", env={})
    return resolve(config, {(None, found.name): found for found in relations})


def problems(text: str, *relations: Relation) -> list[str]:
    with pytest.raises(CatalogError) as raised:
        tables(text, *relations)
    return [str(problem) for problem in raised.value.problems]


def test_refreshes_follows_the_single_foreign_key() -> None:
    found = tables("  orders:\n  items: {refreshes: orders}", ORDERS, items(TO_ORDERS))["items"]
    assert found.parent
    assert (found.parent.table, found.parent.columns) == ("orders", (COLUMNS[1],))
    assert not found.served
    assert found.columns == ()
    assert [text.as_string(None) for text in found.parent.texts("n")] == [
        '("n"."order_id"::pg_catalog.int8)::text'
    ]


def test_a_composite_foreign_key_is_put_into_the_parents_order() -> None:
    found = tables("  orders:\n  items: {refreshes: orders}", TENANT, items(TO_TENANT))["items"]
    assert found.parent
    assert [own.name for own in found.parent.columns] == ["tenant", "order_id"]
    assert [key.name for key in found.parent.key] == ["tenant", "id"]


def test_through_chooses_among_foreign_keys_or_does_without() -> None:
    for keys in [(TO_ORDERS, ALSO_TO_ORDERS), ()]:
        text = "  orders:\n  items: {refreshes: orders, through: {other: id}}"
        found = tables(text, ORDERS, items(*keys))["items"].parent
        assert found
        assert [own.name for own in found.columns] == ["other"]


def test_two_foreign_keys_over_the_same_columns_are_one() -> None:
    text = "  orders:\n  items: {refreshes: orders}"
    assert tables(text, ORDERS, items(TO_ORDERS, TO_ORDERS))["items"].parent


def test_a_table_that_only_refreshes_needs_no_key() -> None:
    bare = items(TO_ORDERS, primary_key=None, unique=())
    found = tables("  orders:\n  items: {refreshes: orders}", ORDERS, bare)["items"]
    assert found.key == ()


@pytest.mark.parametrize(
    "text",
    ["{refreshes: orders, topics: [items]}", "{refreshes: orders}\n  notes: {refreshes: items}"],
)
def test_it_needs_one_where_its_rows_must_be_told_apart(text: str) -> None:
    bare = items(TO_ORDERS, primary_key=None, unique=())
    notes = relation("notes", 3, column("id"))
    (problem,) = problems(f"  orders:\n  items: {text}", ORDERS, bare, notes)
    assert "public.items has no primary key" in problem


def test_children_of_children() -> None:
    notes = relation(
        "notes", 3, column("n"), column("item"), foreign_keys=(ForeignKey(("item",), 2, ("id",)),)
    )
    text = "  notes: {refreshes: items}\n  items: {refreshes: orders}\n  orders:"
    found = tables(text, ORDERS, items(TO_ORDERS), notes)
    assert [t.parent and t.parent.table for t in found.values()] == ["items", "orders", None]


@pytest.mark.parametrize(
    ("entry", "parent", "keys", "complaint"),
    [
        (
            "{refreshes: orders}",
            ORDERS,
            (),
            "tables.items.refreshes: public.items has no foreign key to the key of 'orders', (id);"
            " say through: {own_column: id}",
        ),
        (
            "{refreshes: orders}",
            TENANT,
            (TO_ORDERS,),
            "(tenant, id); say through: {own_tenant: tenant, own_id: id}",
        ),
        (
            "{refreshes: orders}",
            ORDERS,
            (TO_ORDERS, ALSO_TO_ORDERS),
            "several foreign keys to the key of 'orders', (id);"
            " say through: {order_id: id} or through: {other: id}",
        ),
        (
            "{refreshes: orders, through: {ordre_id: id}}",
            ORDERS,
            (),
            "tables.items.through.ordre_id: public.items has no column 'ordre_id'"
            " (did you mean order_id?)",
        ),
        (
            "{refreshes: orders, through: {order_id: id}}",
            TENANT,
            (),
            "tables.items.through: lacks tenant of the key of 'orders'",
        ),
    ],
)
def test_complaints_about_the_way(
    entry: str, parent: Relation, keys: tuple[ForeignKey, ...], complaint: str
) -> None:
    (problem,) = problems(f"  orders:\n  items: {entry}", parent, items(*keys))
    assert complaint in problem


def test_through_to_what_is_not_the_key() -> None:
    entry = "{refreshes: orders, through: {order_id: id, other: note}}"
    (problem,) = problems(f"  orders:\n  items: {entry}", ORDERS, items())
    assert "'note' is not in the key of 'orders' (did you mean id?)" in problem


def test_a_document_is_what_columns_speak_of() -> None:
    for entry, sent in [
        ("{document: docs}", ("id", "total", "items")),
        ("{document: docs, columns: [items]}", ("items",)),
        ("{document: docs, exclude: [id]}", ("total", "items")),
    ]:
        found = tables(f"  orders: {entry}", ORDERS, DOCUMENT)["orders"]
        assert found.columns == sent
        assert found.document == ("public", "docs")
        assert found.source.as_string(None) == '"public"."docs"'


def test_topic_columns_stay_the_tables() -> None:
    text = '  orders: {document: docs, topics: ["notes/{note}"]}'
    assert tables(text, ORDERS, DOCUMENT)["orders"].routing == (ORDERS.columns[1],)
    (problem,) = problems('  orders: {document: docs, topics: ["t/{total}"]}', ORDERS, DOCUMENT)
    assert "public.orders has no column 'total'" in problem


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{document: nope}", "tables.orders.document: there is no table or view 'nope'"),
        ("{document: docs, columns: [note]}", "public.docs has no column 'note'"),
        ("{document: items, key: [id]}", ""),
        ("{document: docs, changed: [total]}", "orders.changed[0]: public.orders has no column"),
    ],
)
def test_complaints_about_documents(entry: str, complaint: str) -> None:
    if not complaint:
        assert tables(f"  orders: {entry}", ORDERS, items())["orders"].document
        return
    (problem,) = problems(f"  orders: {entry}", ORDERS, DOCUMENT)
    assert complaint in problem


def test_a_document_without_the_key() -> None:
    (problem,) = problems("  orders: {document: docs}", TENANT, DOCUMENT)
    assert "tables.orders.document: public.docs has no column 'tenant'" in problem
    assert "has the key of public.orders under the same names" in problem


def test_what_counts_is_taken_over() -> None:
    entry = "{where: id > 5, operations: [delete], trigger: row}"
    found = tables(f"  orders: {entry}", ORDERS)["orders"]
    assert (found.where, found.operations, found.trigger) == ("id > 5", {"delete"}, "row")
    assert tables("  orders:", ORDERS)["orders"].operations == OPERATIONS
    assert tables("  orders: {changed: [note]}", ORDERS)["orders"].changed == ("note",)


def test_a_condition_ends_where_it_ends() -> None:
    found = tables("  orders: {where: 'id > 5 -- five'}", ORDERS)["orders"]
    assert found.rows().as_string(None) == (
        '(SELECT * FROM "public"."orders" AS "orders" WHERE (id > 5 -- five\n))'
    )


def test_changed_cannot_see_what_is_computed_on_reading() -> None:
    virtual = relation("orders", 1, column("id"), column("sum", virtual=True))
    (problem,) = problems("  orders: {changed: [sum]}", virtual)
    assert "is computed on reading" in problem
