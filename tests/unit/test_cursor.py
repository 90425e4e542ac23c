"""Cursors go back to the moment they were made of, and to nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge import cursor
from bridge.cursor import Moment


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    xmin = draw(st.integers(3, 2**40))
    xmax = xmin + draw(st.integers(0, 60))
    open_ = draw(st.sets(st.integers(xmin, xmax - 1))) if xmax > xmin else set()
    return Moment(xmin, xmax, tuple(sorted(open_)))


@given(moments(), st.text(), st.text())
def test_a_cursor_is_its_moment(moment: Moment, identity: str, topic: str) -> None:
    written = cursor.of_moment(identity, topic, moment)
    assert written is not None
    assert cursor.moment(written, identity, topic) == moment
    assert cursor.moment(written, identity, topic + "x") is None
    assert cursor.moment(written, identity + "x", topic) is None
    assert Moment.read(str(moment)) == moment


@given(st.text() | st.from_regex(r"s\.[0-9a-f.-]*", fullmatch=True))
def test_anything_else_is_none(text: str) -> None:
    assert cursor.moment(text, "identity", "topic") is None


@given(moments(), st.text(alphabet="s.0123456789abcdef-", max_size=3), st.integers(0, 60))
def test_a_cursor_that_was_tampered_with_is_none_or_a_moment(
    moment: Moment, inserted: str, place: int
) -> None:
    written = cursor.of_moment("identity", "topic", moment) or ""
    found = cursor.moment(written[:place] + inserted + written[place:], "identity", "topic")
    assert found is None or found.xmin <= found.xmax < 2**60


def test_where_too_many_transactions_are_open_there_is_no_cursor() -> None:
    crowd = Moment(10, 10_000, tuple(range(10, 9_000)))
    assert cursor.of_moment("identity", "topic", crowd) is None


@given(moments(), st.integers(0, 2**40 + 70))
def test_a_moment_sees_what_had_ended(moment: Moment, xid: int) -> None:
    assert moment.sees(xid) == (xid < moment.xmax and xid not in moment.xip)
