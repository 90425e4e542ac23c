"""What a request says of who sends it: read the same way whatever it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from bridge.config import loads
from bridge.errors import LimitError, ProtocolError, TokenError
from bridge.gateways.access import presented, subprotocol
from bridge.gateways.limits import Limits, size
from bridge.gateways.sse import asked
from bridge.metrics import Metrics

TOKENS = st.text("abc._-=, ", max_size=12)
VALUES = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]))


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ([], "", None),
        ([("Authorization", "Bearer a.b")], "", "a.b"),
        ([("Authorization", "bearer  a.b ")], "topic=x", "a.b"),
        ([("Authorization", "Basic eDp5")], "", None),
        ([("Authorization", "Basic eDp5")], "token=a.b", "a.b"),
        ([("Authorization", "Bearer")], "", ""),
        ([("Sec-WebSocket-Protocol", "rowcast, bearer.a.b")], "", "a.b"),
        ([("Sec-WebSocket-Protocol", "x"), ("Sec-WebSocket-Protocol", "bearer.a")], "", "a"),
        ([("Sec-WebSocket-Protocol", "rowcast")], "", None),
        ([], "token=a%2Eb", "a.b"),
        ([], "token=", ""),
        ([], "Token=a", None),
    ],
)
def test_the_one_token(headers: list[tuple[str, str]], query: str, token: str | None) -> None:
    assert presented(Headers(headers), query) == token


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("Authorization", "Bearer a")], "token=a"),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer a")], ""),
        ([("Sec-WebSocket-Protocol", "bearer.a, bearer.b")], ""),
        ([], "token=a&token=a"),
    ],
)
def test_two_tokens(headers: list[tuple[str, str]], query: str) -> None:
    with pytest.raises(TokenError, match="more than one token"):
        presented(Headers(headers), query)


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ([], None),
        (["x"], None),
        (["bearer.t"], "bearer.t"),
        (["bearer.t", "rowcast"], "rowcast"),
    ],
)
def test_the_answer_to_subprotocols(offers: list[str], answer: str | None) -> None:
    assert subprotocol(None, offers) == answer  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.sampled_from(["Authorization", "Sec-WebSocket-Protocol"]), VALUES)),
       VALUES | TOKENS.map("token={}".format))  # fmt: skip
def test_any_headers_have_a_token_or_none_or_too_many(
    headers: list[tuple[str, str]], query: str
) -> None:
    try:
        token = presented(Headers(headers), query)
    except TokenError:
        return
    assert token is None or isinstance(token, str)


@given(VALUES | TOKENS.map("topic={}".format), st.none() | VALUES)
def test_any_query_and_position_are_topics_or_an_error(query: str, position: str | None) -> None:
    try:
        found = asked(query, position)
    except ProtocolError:
        return
    assert len(found.topics) == len(found.cursors) > 0


@given(st.lists(VALUES | st.ip_addresses().map(str), max_size=5), st.ip_addresses().map(str))
def test_nobody_but_a_proxy_says_who_somebody_is(said: list[str], peer: str) -> None:
    settings = "tables: {t: }\nlimits: {address_rate: 1}\n"
    settings += "server: {proxies: [203.0.113.0/24]}"
    limits = Limits(loads(settings, env={"DATABASE_URL": "host=x"}), Metrics())
    headers = Headers([("X-Forwarded-For", value) for value in said])
    request = Request("/ws", headers)
    assert size(request) > 0
    limits.arrive(peer, request, 0.0)
    if not peer.startswith("203.0.113."):
        with pytest.raises(LimitError):
            limits.arrive(peer, Request("/ws", Headers()), 0.0)
