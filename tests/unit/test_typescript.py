"""Tables → TypeScript: names and types at their odd ends. A compiler looks in acceptance."""

from __future__ import annotations

import pytest

from bridge.typescript import Field, Shape, Type, declarations

INT = Type("int4")


def shape(name: str, *fields: Field, topics: tuple[str, ...] = ("t",)) -> Shape:
    return Shape(name, topics, fields)


def test_a_schema_names_each_topic_and_its_row() -> None:
    fields = (Field("id", INT, nullable=False), Field("note", Type("text"), nullable=True))
    text = declarations([shape("order_items", *fields, topics=("items", "items/{id}"))])
    assert text.partition("\n")[2] == (
        "\nexport interface OrderItems {\n  id: number;\n  note: string | null;\n}\n"
        "\nexport interface Schema {\n  topics: {\n"
        '    "items": OrderItems;\n    "items/{id}": OrderItems;\n  };\n}\n'
    )


def test_topics_of_logs_stand_apart() -> None:
    state = shape("orders", Field("id", INT, nullable=False), topics=("orders",))
    log = Shape("payments", ("payments", "payments/{account}"), state.fields, log=True)
    assert declarations([state, log]).endswith(
        'export interface Schema {\n  topics: {\n    "orders": Orders;\n  };\n'
        '  logs: {\n    "payments": Payments;\n    "payments/{account}": Payments;\n  };\n}\n'
    )


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        (["orders", "Orders", "orders_"], ["Orders", "Orders2", "Orders3"]),
        (["2024", "naïve table"], ["Table2024", "NaVeTable"]),
        (["日本"], ["Table"]),
        (["schema", "json"], ["Schema2", "Json2"]),
    ],
)
def test_every_table_has_a_name_of_its_own(tables: list[str], names: list[str]) -> None:
    text = declarations([shape(table) for table in tables])
    for name in names:
        assert f"export interface {name} {{" in text


@pytest.mark.parametrize(
    ("field", "written"),
    [
        (Field("odd name", INT, nullable=False), '"odd name": number;'),
        (Field('"', INT, nullable=False), '"\\"": number;'),
        (Field("x", Type("_int4", element=INT), nullable=True), "x: (number | null)[] | null;"),
        (
            Field("x", Type("_int4", element=INT), nullable=False, dimensions=2),
            "x: ((number | null)[] | null)[];",
        ),
        (Field("x", Type("_jsonb", element=Type("jsonb")), nullable=False), "x: Json[];"),
        (Field("x", Type("jsonb"), nullable=True), "x: Json;"),
        (Field("x", Type("mood", builtin=False, kind="e"), nullable=False), "x: never;"),
        (Field("x", Type("hstore", builtin=False, castable=True), nullable=False), "x: Json;"),
        # Only PostgreSQL's own are written as numbers.
        (Field("x", Type("int4", builtin=False), nullable=False), "x: string;"),
    ],
)
def test_a_column(field: Field, written: str) -> None:
    assert f"  {written}\n" in declarations([shape("t", field)])


def test_only_what_is_used_is_declared() -> None:
    fields = [Field("a", Type("int8"), nullable=False), Field("b", Type("json"), nullable=False)]
    assert "export type" not in declarations([shape("t", Field("a", INT, nullable=False))])
    text = declarations([shape("t", *fields)])
    assert [line.split()[2] for line in text.splitlines() if line.startswith("export type")] == [
        "Bigint", "Json"
    ]  # fmt: skip
