"""Templates and topics: each value makes a topic of its own, in one spelling."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.topics import Template, decode, encode, specific

# What PostgreSQL can hold as text: no NUL, and no half of a surrogate pair.
values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(values, values)
@example("", "")
@example("/", "%2F")
@example("..", ".")
@example("{id}", "🛒")
def test_values_come_back_from_the_topic_they_make(first: str, second: str) -> None:
    template = Template.parse("shops/{shop}/orders/{id}")
    topic = template.topic({"shop": first, "id": second, "unused": None})
    assert topic is not None
    assert topic.count("/") == 3
    assert template.match(topic) == (first, second)


FIELDS = ("shop", "id", "place", "at")
rows = st.lists(st.none() | values | st.sampled_from(["", "/", "%2F"]), max_size=len(FIELDS))


@given(st.lists(st.sampled_from(FIELDS), max_size=4), rows.map(tuple), rows.map(tuple))
@example([], (), ("1",))
@example(["at", "shop"], ("1",), ("1", "2", "3", "4"))
@example(["id", "id"], ("1", "2"), ("3", "2"))
def test_rows_are_in_one_place_that_are_of_one_topic(
    columns: list[str], one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    template = Template.parse("/".join(["orders", *(f"{{{name}}}" for name in columns)]))
    place = template.places(FIELDS)
    names = [named(template, row) for row in (one, other)]
    assert (place(one) == place(other)) == (names[0] == names[1])
    for row, name in zip((one, other), names, strict=True):
        assert place(row) == (None if name is None else template.match(name))


def named(template: Template, row: tuple[str | None, ...]) -> str | None:
    known = dict(zip(FIELDS, row, strict=False))
    return template.topic(known) if known.keys() >= set(template.columns) else None


@given(values, values)
def test_different_values_make_different_topics(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.text())
@example("%")
@example("%4")
@example("%2f")
@example("%41")
@example("é")
@example("\ud800")
@example("%ED%A0%80")
@example("%00")
@example("a+b")
def test_what_is_not_in_the_one_spelling_is_no_value(segment: str) -> None:
    value = decode(segment)
    assert value is None or encode(value) == segment


# Each pair from JavaScript: [character, encodeURIComponent(character)].
JAVASCRIPT = {
    **{c: c for c in "azAZ09-_.!~*'()"},
    **{c: f"%{ord(c):02X}" for c in ' "#$%&+,/:;<=>?@[\\]^`{|}\t\n\r\x07\x7f'},
    "é": "%C3%A9",
    "€": "%E2%82%AC",
    "🛒": "%F0%9F%9B%92",
    "\ufeff": "%EF%BB%BF",
}


@pytest.mark.parametrize(("character", "encoded"), JAVASCRIPT.items())
def test_encodes_as_javascript_does(character: str, encoded: str) -> None:
    assert encode(character) == encoded
    assert decode(encoded) == character


@pytest.mark.parametrize(
    "topic",
    ["orders", "orders/", "orders/1/2", "Orders/1", "orders//1", "/orders/1", "orders/1/", ""],
)
def test_a_topic_of_another_shape_does_not_match(topic: str) -> None:
    expected = ("",) if topic == "orders/" else None
    assert Template.parse("orders/{id}").match(topic) == expected


def test_null_belongs_to_no_topic() -> None:
    assert Template.parse("customers/{customer}/orders").topic({"customer": None}) is None


def test_a_literal_is_encoded_like_a_value() -> None:
    template = Template.parse("größen/{id}")
    assert template.topic({"id": "1"}) == "gr%C3%B6%C3%9Fen/1"
    assert template.match("gr%C3%B6%C3%9Fen/1") == ("1",)
    assert template.match("größen/1") is None


def test_a_literal_is_asked_before_a_column() -> None:
    texts = ["{a}/{b}", "{a}/new", "orders/{b}", "orders/new", "orders/{b}/{c}"]
    ordered = [template.text for template in specific(map(Template.parse, texts))]
    assert ordered == ["orders/new", "orders/{b}", "orders/{b}/{c}", "{a}/new", "{a}/{b}"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty segment"),
        ("orders//{id}", "empty segment"),
        ("orders/", "empty segment"),
        ("orders/{id", "fills a whole segment"),
        ("orders/id}", "fills a whole segment"),
        ("orders/{}", "fills a whole segment"),
        ("orders/no-{id}", "fills a whole segment"),
        ("orders/{{id}}", "fills a whole segment"),
        ("my orders", "whitespace"),
        ("100%", "'%'"),
    ],
)
def test_a_template_that_means_nothing_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Template.parse(text)


def test_a_column_may_have_any_name() -> None:
    template = Template.parse("t/{Größe in %}/{a.b}")
    assert template.columns == ("Größe in %", "a.b")
    assert template.topic({"Größe in %": "1", "a.b": "2"}) == "t/1/2"


def test_columns_with_other_names_make_the_same_shape() -> None:
    one, other = Template.parse("orders/{id}"), Template.parse("orders/{number}")
    assert one.shape == other.shape
    assert one.shape != Template.parse("orders/id").shape
