from __future__ import annotations

from bridge.config import loads
from bridge.draft import draft
from bridge.tables import Column, ForeignKey, Relation


def relation(
    oid: int,
    name: str,
    columns: str,
    key: str | None,
    *references: ForeignKey,
    schema: str = "public",
) -> Relation:
    primary = tuple(key.split()) if key else None
    return Relation(
        oid=oid,
        schema=schema,
        name=name,
        kind="r",
        owner="postgres",
        is_partition=False,
        row_security=False,
        columns=tuple(Column(c, "pg_catalog.int4", "int4") for c in columns.split()),
        primary_key=primary,
        unique=(primary,) if primary else (),
        foreign_keys=references,
    )


CUSTOMERS = relation(1, "customers", "id name", "id")
ORDERS = relation(2, "orders", "id customer_id", "id", ForeignKey(("customer_id",), 1, ("id",)))
ITEMS = relation(
    3, "items", "order_id line", "order_id line", ForeignKey(("order_id",), 2, ("id",))
)


def load(text: str) -> dict:
    return dict(loads(text, env={"DATABASE_URL": "host=a"}).tables)


def topics(text: str, name: str) -> list[str]:
    return [template.text for template in load(text)[name].topics or ()]


def test_a_table_gets_its_topics_and_those_of_its_parents() -> None:
    text = draft("shop", [CUSTOMERS, ORDERS], {})
    assert topics(text, "orders") == ["orders", "orders/{id}", "customers/{customer_id}/orders"]
    assert "# refreshes: customers" in text


def test_a_part_of_another_table_refreshes_it() -> None:
    text = draft("shop", [CUSTOMERS, ORDERS, ITEMS], {})
    assert load(text)["items"].refreshes == "orders"


def test_a_table_that_joins_two_belongs_to_neither() -> None:
    both = (ForeignKey(("a",), 1, ("id",)), ForeignKey(("b",), 2, ("id",)))
    text = draft("shop", [CUSTOMERS, ORDERS, relation(4, "links", "a b", "a b", *both)], {})
    assert load(text)["links"].refreshes is None
    assert text.count("# refreshes: ") == 3


def test_two_ways_to_one_parent_are_told_apart() -> None:
    both = (ForeignKey(("a",), 1, ("id",)), ForeignKey(("b",), 1, ("id",)))
    text = draft("shop", [CUSTOMERS, relation(4, "trades", "id a b", "id", *both)], {})
    assert "# through: {a: id}" in text
    assert "# through: {b: id}" in text


def test_a_large_table_gets_no_topic_of_all_its_rows() -> None:
    text = draft("shop", [CUSTOMERS], {1: 10_001})
    assert topics(text, "customers") == ["customers/{id}"]
    assert "About 10,001 rows" in text


def test_a_table_without_a_key_is_left_out_and_named() -> None:
    text = draft("shop", [CUSTOMERS, relation(9, "history", "a b", None)], {})
    assert list(load(text)) == ["customers"]
    assert "public.history: no primary key" in text


def test_names_that_yaml_or_topics_would_misread() -> None:
    odd = [
        relation(1, "no", "id", "id"),
        relation(2, "Invoice 2024", "Id", "Id"),
        relation(3, 'say "hi"/{x}', "a/b", "a/b"),
        relation(4, "no", "id", "id", schema="other"),
    ]
    tables = load(draft("odd", odd, {}))
    assert [entry.table for entry in tables.values()] == [
        (None, "no"),
        ("public", "Invoice 2024"),
        ("public", 'say "hi"/{x}'),
        ("other", "no"),
    ]


def test_a_database_without_tables_says_so() -> None:
    assert "no table has a primary key" in draft("empty", [], {})
