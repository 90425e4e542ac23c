"""What an instance says of itself fits into a notification, and nobody who answers is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import presence
from bridge.commands import status as command
from bridge.health import Health
from bridge.hub import Hub
from bridge.metrics import Metrics
from bridge.presence import Presence
from bridge.rollcall import Found, Roll
from bridge.status import LIMIT, REASONS, Status, asked, channel, decode, encode, outline, question

TO = "0123456789abcdef"


def test_a_question_is_told_from_a_probe() -> None:
    assert asked(question(TO).encode()) == TO
    assert question(TO).startswith('{"probe":')
    for other in ('{"probe":"4f"}', '{"probe":"status","to":"x; DROP"}', question(TO) + " "):
        assert asked(other.encode()) is None
    assert len(channel(TO)) < 63


def test_what_is_said_is_heard() -> None:
    said = Status("b7f3", "1.0.0", "höst", 42, "[::1]:1", 9.5, False, ("triggers: naïve",), 3)
    assert decode(encode(said)) == said


@given(st.lists(st.text(max_size=2_000), max_size=40))
def test_it_always_fits_into_a_notification(reasons: list[str]) -> None:
    text = encode(Status("b7f3", reasons=tuple(reasons)))
    assert len(text.encode()) <= LIMIT
    found = decode(text)
    assert found is not None
    assert len(found.reasons) == min(len(reasons), REASONS)


def test_the_worst_characters_fit_too() -> None:
    for worst in ("\U0001f600", "\0", '"', "\\"):
        text = encode(Status("b7f3", reasons=(worst * 1_000,) * 20))
        assert len(text.encode()) <= LIMIT


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(Status._fields), inner),
        max_leaves=5,
    )
)
def test_whatever_somebody_answers_has_the_types_it_should_have(answer: object) -> None:
    found = decode(json.dumps(answer))
    assert found is None or [type(one) for one in found] == [type(one) for one in Status()]


@pytest.mark.parametrize("text", ["", "[]", "nothing", "[" * 100_000, '{"ready":'])
def test_what_is_no_answer_is_none(text: str) -> None:
    assert decode(text) is None


def test_what_postgresql_said_of_a_row_is_not_told_to_everybody() -> None:
    reasons = {"triggers": "orders: missing", "reload orders": 'reload orders: no integer: "hush"'}
    told = list(outline(reasons))
    assert told[0] == "orders: missing"
    assert "reload orders" in told[1]
    assert "hush" not in " ".join(told)


def test_who_asks_without_end_is_not_kept_without_end() -> None:
    told = Presence("b7f3", Hub(), Health(), Metrics())
    for n in range(10 * presence.MOST):
        told.asked(f"{n:016x}")
    assert len(told._asking) == presence.MOST


# For people.

WELL = Status("b7f3", "1.0.0", "web-1", 42, "0.0.0.0:8765", 1e3, True, (), 7, 3, 0, 0.25, True)
ILL = WELL._replace(
    instance="c0de",
    version="0.9",
    ready=False,
    reasons=("orders: missing",),
    drift=2,
    leading=False,
)


def page(*found: Found) -> list[str]:
    return list(command._page(Roll("app at db:5432/app", "18.1", 0.125, found), 1_000.0 + 7_200))


def test_instances_are_shown_one_a_line() -> None:
    first, _, titles, *rows = page(
        Found("b7f3", "10.0.0.1", 60.0, WELL), Found("dead", "10.0.0.9", 300.0, None)
    )
    assert first == "2 instances: app at db:5432/app, PostgreSQL 18.1"
    assert titles.split() == list(command.TITLES)
    assert rows[0].split() == (
        "b7f3 1.0.0 web-1 42 0.0.0.0:8765 2 h yes 7 3 0.2 s yes".split()  # noqa: SIM905
    )
    assert rows[1].split() == "dead ? 10.0.0.9 ? ? 5 min no answer ? ? ? ?".split()  # noqa: SIM905
    assert "dead listens and does not answer" in "\n".join(rows)
    assert rows[-1] == "the NOTIFY queue is 12.5% full"


def test_what_is_wrong_is_said_below() -> None:
    said = "\n".join(page(Found("b7f3", "", None, WELL), Found("c0de", "", None, ILL)))
    assert "c0de is not ready: orders: missing" in said
    assert "different versions" in said
    assert "(2 found); `rowcast check`" in said
    assert "no instance listens" in "\n".join(page())


def test_who_answers_does_not_write_to_the_terminal() -> None:
    evil = ILL._replace(host="\x1b]0;you\x07", reasons=("\x1b[2J",))
    assert all(line.isprintable() for line in page(Found("c0de", "", None, evil)))
