"""Which topics a rule means: by claims, in the one spelling of topics, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.patterns import Pattern, said
from bridge.topics import Template, encode

CLAIMS = {
    "id": 7,
    "name": "a/b",
    "many": ["x", 8, None, {"y": 1}, 1.5, True],
    "vip": "vip",
    "empty": "",
    "none": None,
    "half": "\ud800",
    "nested": {"deep": {"id": "n"}, "list": ["p", "q"]},
    "https://x.example/org": "o",
    "a.b": "whole",
    "a": {"b": "parts"},
}


@pytest.mark.parametrize(
    ("pattern", "topic", "fine"),
    [
        ("orders", "orders", True),
        ("orders", "orders/1", False),
        ("orders", "order", False),
        ("orders/*", "orders/1", True),
        ("orders/*", "orders", False),
        ("orders/*", "orders/1/2", False),
        ("orders/**", "orders", True),
        ("orders/**", "orders/1/2/3", True),
        ("orders/**", "orders2/1", False),
        ("**", "anything/at/all", True),
        ("c/{claims.id}/**", "c/7", True),
        ("c/{claims.id}/**", "c/7/orders", True),
        ("c/{claims.id}/**", "c/70", False),
        ("c/{claims.id}/**", "c", False),
        ("c/{claims.id}/**", "c/07/orders", False),
        ("c/{claims.id}/**", "c/%37/orders", False),
        ("c/{claims.name}", "c/a%2Fb", True),
        ("c/{claims.name}", "c/a/b", False),
        ("c/{claims.name}", "c/a%2fb", False),
        ("c/{claims.many}", "c/x", True),
        ("c/{claims.many}", "c/8", True),
        ("c/{claims.many}", "c/true", True),
        ("c/{claims.many}", "c/1.5", False),
        ("c/{claims.many}", "c/None", False),
        ("c/{claims.many}", "c/", False),
        ("c/{claims.empty}", "c/", False),
        ("c/{claims.none}", "c/None", False),
        ("c/{claims.half}", "c/\ud800", False),
        ("c/{claims.half}", "c/?", False),
        ("c/{claims.nope}", "c/", False),
        ("c/{claims.nested}", "c/deep", False),
        ("c/{claims.nested.deep.id}", "c/n", True),
        ("c/{claims.nested.list}", "c/q", True),
        ("c/{claims.https://x.example/org}/d", "c/o/d", True),
        ("c/{claims.a.b}", "c/whole", True),
        ("c/{claims.a.b}", "c/parts", False),
        ("ü/x", "%C3%BC/x", True),
    ],
)
def test_topics_that_fit(pattern: str, topic: str, fine: bool) -> None:
    assert Pattern.parse(pattern).fits(topic, None, CLAIMS) is fine


def test_a_claim_is_never_a_literal_of_a_template() -> None:
    pattern = Pattern.parse("shops/{claims.vip}/orders")
    topic = "shops/vip/orders"
    assert pattern.fits(topic, Template.parse("shops/{shop}/orders"), CLAIMS)
    assert not pattern.fits(topic, Template.parse("shops/vip/orders"), CLAIMS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty segment"),
        ("a//b", "empty segment"),
        ("**/a", "'**' before its end"),
        ("a*/b", "mixes '*'"),
        ("a/{id}", "is not '{claims.NAME}'"),
        ("a/x{claims.id}", "is not '{claims.NAME}'"),
        ("a/{claims.}", "is not '{claims.NAME}'"),
        ("a/{claims.id", "without its '}'"),
        ("a/}", "without its '}'"),
        ("a b", "whitespace"),
        ("a%20b", "whitespace or '%'"),
    ],
)
def test_what_is_no_pattern(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("{", r"\{").replace("*", r"\*")):
        Pattern.parse(text)


@given(st.text(min_size=1), st.text())
def test_a_claim_fits_its_own_value_only(claim: str, value: str) -> None:
    surrogate = any("\ud800" <= char <= "\udfff" for char in claim + value)
    topic = "c/?" if surrogate else f"c/{encode(value)}"
    fits = Pattern.parse("c/{claims.x}").fits(topic, None, {"x": claim})
    assert fits == (claim == value and not surrogate)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_any_claims_can_be_asked(claims: dict[str, object]) -> None:
    for name in [*claims, "a.b"]:
        assert all(isinstance(text, str) and text for text in said(claims, name))
