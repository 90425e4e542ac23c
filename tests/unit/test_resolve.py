"""Config meets catalog: the defaults that follow, and every complaint with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.config import loads
from bridge.errors import CatalogError
from bridge.resolve import resolve
from bridge.tables import Column, Relation, Table

if TYPE_CHECKING:
    from bridge.config import Config

ID, CUSTOMER = (
    Column("id", "pg_catalog.int8", "int8"),
    Column("customer", "pg_catalog.text", "text"),
)
NOTE = Column("note", "pg_catalog.text", "text", not_null=False)


def relation(name: str = "orders", **changes: Any) -> Relation:
    values: dict[str, Any] = {
        "oid": 1,
        "schema": "public",
        "name": name,
        "kind": "r",
        "owner": "app",
        "is_partition": False,
        "row_security": False,
        "columns": (ID, CUSTOMER, NOTE),
        "primary_key": ("id",),
        "unique": (("id",), ("customer", "id")),
        "foreign_keys": (),
    }
    return Relation(**values | changes)


def config(text: str) -> Config:
    return loads(f"database: postgresql://x/y\ntables:\n{text}", env={})


def table(text: str, **changes: Any) -> Table:
    read = config(f"  orders: {text}\n")
    return resolve(read, {read.tables["orders"].table: relation(**changes)})["orders"]


def problems(text: str, *names: tuple[str, str], **changes: Any) -> list[str]:
    read = config(f"  orders: {text}\n")
    found = None if names else relation(**changes)
    with pytest.raises(CatalogError) as raised:
        resolve(read, {read.tables["orders"].table: found}, names)
    return [str(problem) for problem in raised.value.problems]


def test_defaults() -> None:
    resolved = table("{}")
    assert resolved.key == (ID,)
    assert resolved.columns == ("id", "customer", "note")
    assert [template.text for template in resolved.templates] == ["orders", "orders/{id}"]
    assert resolved.templates[1].topic({"id": "7"}) == "orders/7"
    assert resolved.routing == ()


def test_a_composite_key_has_a_segment_per_column() -> None:
    resolved = table("{key: [customer, id]}")
    assert resolved.templates[1].topic({"customer": "a/b", "id": "7"}) == "orders/a%2Fb/7"
    assert resolved.fields == ("customer", "id")


def test_a_key_column_that_no_template_could_name() -> None:
    braces = Column("{odd}", "pg_catalog.text", "text")
    resolved = table("{}", columns=(braces,), primary_key=("{odd}",), unique=(("{odd}",),))
    assert resolved.templates[1].topic({"{odd}": "7"}) == "orders/7"
    assert resolved.templates[1].match("orders/7") == ("7",)


def test_columns_keep_the_catalogs_order_and_need_not_hold_the_key() -> None:
    assert table("{columns: [note, customer]}").columns == ("customer", "note")
    assert table("{exclude: [id]}").columns == ("customer", "note")


def test_routing_is_the_topics_columns_outside_the_key() -> None:
    topics = '["orders/{id}", "customers/{customer}/{id}", "notes/{note}/{customer}"]'
    assert table(f"{{topics: {topics}}}").routing == (CUSTOMER, NOTE)


@pytest.mark.parametrize(
    ("text", "changes", "complaint"),
    [
        ("{}", {"kind": "v"}, "public.orders is a view"),
        ("{}", {"kind": "m"}, "is a materialized view"),
        ("{}", {"kind": "f"}, "is a foreign table"),
        ("{}", {"is_partition": True}, "is a partition"),
        ("{}", {"schema": "pg_catalog"}, "is PostgreSQL's own"),
        ("{}", {"primary_key": None, "unique": ()}, "does not count); add one, or name"),
        (
            "{}",
            {"primary_key": None, "unique": (("customer", "id"),)},
            "did you mean [customer, id]?",
        ),
        ("{key: [idd]}", {}, "tables.orders.key[0]: public.orders has no column 'idd'"),
        ("{key: [customer]}", {}, "tables.orders.key: (customer) does not identify a row"),
        ("{columns: [id, nota]}", {}, "tables.orders.columns[1]: public.orders has no column"),
        ("{columns: [id, nota]}", {}, "(did you mean note?)"),
        ("{exclude: [nota]}", {}, "tables.orders.exclude[0]"),
        ("{exclude: [id, customer, note]}", {}, "leaves no column to send"),
        ('{topics: ["a/{custome}"]}', {}, "tables.orders.topics[0]"),
        ("{audit: {values: [nota]}}", {}, "tables.orders.audit.values: public.orders has no"),
        (
            '{topics: ["a/{note}"]}',
            {"columns": (ID, Column("note", "pg_catalog.text", "text", virtual=True))},
            "use a stored column",
        ),
    ],
)
def test_complaints(text: str, changes: dict[str, Any], complaint: str) -> None:
    (problem,) = problems(text, **changes)
    assert complaint in problem
    assert problem.startswith("config.yaml:3:")


@pytest.mark.parametrize(
    ("text", "names", "complaint"),
    [
        ("{}", [("billing", "orders")], "on the search path (did you mean billing.orders?)"),
        ("{}", [("public", "order")], "on the search path (did you mean order?)"),
        ("{table: shop.orders}", [("public", "x")], "there is no table 'orders' in the schema"),
        ("{table: shop.orders}", [("public", "orders")], "(did you mean public.orders?)"),
    ],
)
def test_a_missing_table(text: str, names: list[tuple[str, str]], complaint: str) -> None:
    (problem,) = problems(text, *names)
    assert complaint in problem


def test_everything_at_once() -> None:
    text = '{key: [a], columns: [b], topics: ["x/{c}"]}'
    assert len(problems(text)) == 3


def test_topics_of_two_tables_that_cannot_be_told_apart() -> None:
    """Only the catalog knows that the default topic of `orders` has one key column."""
    read = config("  orders: {}\n  other: {topics: ['orders/{id}']}\n")
    found = {(None, "orders"): relation(), (None, "other"): relation("other")}
    with pytest.raises(CatalogError, match="cannot be told from one of 'orders'"):
        resolve(read, found)
