from __future__ import annotations

from dataclasses import replace

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


def test_it_can_be_looked_at_and_tried_from_a_page_of_this_machine() -> None:
    server = loads(draft("shop", [CUSTOMERS], {}), env={"DATABASE_URL": "host=a"}).server
    assert server.inspector
    assert server.host == "127.0.0.1"
    assert "http://localhost:8000" in server.allowed_origins


def test_a_part_of_another_table_refreshes_it() -> None:
    text = draft("shop", [CUSTOMERS, ORDERS, ITEMS], {})
    assert load(text)["items"].refreshes == "orders"


def test_a_table_that_joins_two_belongs_to_neither() -> None:
    both = (ForeignKey(("a",), 1, ("id",)), ForeignKey(("b",), 2, ("id",)))
    text = draft("shop", [CUSTOMERS, ORDERS, relation(4, "links", "a b", "a b", *both)], {})
    assert load(text)["links"].refreshes is None
    assert "# refreshes: customers    # or orders;" in text


def test_a_part_is_served_by_itself_as_well() -> None:
    text = draft("shop", [CUSTOMERS, ORDERS, ITEMS], {})
    assert topics(text, "items") == ["items", "items/{order_id}/{line}", "orders/{order_id}/items"]


def test_a_second_way_to_one_parent_has_topics_of_its_own() -> None:
    both = (ForeignKey(("a",), 1, ("id",)), ForeignKey(("b",), 1, ("id",)))
    text = draft("shop", [CUSTOMERS, relation(4, "trades", "id a b", "id", *both)], {})
    ways = ["customers/{a}/trades", "customers/{b}/trades.b"]
    assert topics(text, "trades") == ["trades", "trades/{id}", *ways]


def test_tables_stand_below_what_they_belong_to() -> None:
    alone = relation(7, "b", "id", "id")
    text = draft("shop", [alone, ITEMS, ORDERS, CUSTOMERS], {})
    assert list(load(text)) == ["b", "customers", "orders", "items"]


def test_tables_that_refer_to_each_other_in_a_circle_are_all_there() -> None:
    one = relation(1, "one", "id two", "id", ForeignKey(("two",), 2, ("id",)))
    two = relation(2, "two", "id one", "id", ForeignKey(("one",), 1, ("id",)))
    assert list(load(draft("circle", [one, two], {}))) == ["one", "two"]


def test_what_sounds_like_a_secret_is_not_sent() -> None:
    users = relation(1, "users", "id name Password_Hash api_key keyboard", "id")
    text = draft("app", [users], {})
    assert load(text)["users"].exclude == ("Password_Hash", "api_key")
    assert "# columns: [id, name, keyboard]    # in place of exclude" in text


def test_a_secret_that_is_the_key_is_left_to_the_operator() -> None:
    text = draft("app", [relation(1, "sessions", "token", "token")], {})
    assert load(text)["sessions"].exclude == ()


def test_a_topic_of_too_many_rows_each_is_left_out() -> None:
    text = draft("shop", [CUSTOMERS, ORDERS], {1: 2, 2: 20_001})
    assert topics(text, "orders") == ["orders/{id}"]
    text = draft("shop", [CUSTOMERS, ORDERS], {1: 3, 2: 20_001})
    assert topics(text, "orders") == ["orders/{id}", "customers/{customer_id}/orders"]


def test_partitions_that_foreign_keys_write_to_need_row_triggers() -> None:
    direct = ForeignKey(("customer_id",), 1, ("id",), direct=True)
    text = draft("shop", [CUSTOMERS, relation(2, "orders", "id customer_id", "id", direct)], {})
    assert load(text)["orders"].trigger == "row"


def test_a_table_with_a_foreign_child_needs_row_triggers() -> None:
    table = replace(CUSTOMERS, foreign_children=True)
    assert load(draft("shop", [table], {}))["customers"].trigger == "row"


def test_names_go_to_the_public_schema_first() -> None:
    tables = [relation(1, "t", "id", "id", schema="a"), relation(2, "t", "id", "id")]
    assert {name: e.table for name, e in load(draft("two", tables, {})).items()} == {
        "t": (None, "t"),
        "a.t": ("a", "t"),
    }


def test_long_lists_are_read_as_what_they_are() -> None:
    names = [f"column_number_{n}" for n in range(30)]
    text = draft("wide", [relation(1, "wide", " ".join(names), names[0])], {})
    assert max(map(len, text.splitlines())) <= 100
    uncommented = text.replace("    # columns", "    columns").replace("    #   ", "      ")
    assert load(uncommented)["wide"].columns == tuple(names)


def test_two_ways_to_one_parent_are_told_apart() -> None:
    both = (ForeignKey(("a",), 1, ("id",)), ForeignKey(("b",), 1, ("id",)))
    text = draft("shop", [CUSTOMERS, relation(4, "trades", "id a b", "id", *both)], {})
    assert "# through: {a: id}" in text
    assert "# through: {b: id}" in text


def test_a_large_table_gets_no_topic_of_all_its_rows() -> None:
    text = draft("shop", [CUSTOMERS], {1: 10_001})
    assert topics(text, "customers") == ["customers/{id}"]
    assert "More than 10,000 rows" in text


def test_a_table_without_a_key_is_left_out_and_named() -> None:
    text = draft("shop", [CUSTOMERS, relation(9, "history", "a b", None)], {})
    assert list(load(text)) == ["customers"]
    left_out = text.partition("# Left out:")[2]
    assert "without a primary key" in left_out
    assert "public.history" in left_out


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
