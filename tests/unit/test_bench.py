"""What `./dev bench` makes of its figures, and that the docs show those and no others."""

from __future__ import annotations

import json

import pytest

from bench import publish
from bench.crowd import said
from bench.report import Curve, Missing, Result, Table, Verdict, result, row, shown
from bench.sockets import Frames, frame
from bench.stats import Spread, percentile, ratios, spread
from bench.targets import NAMES


def some() -> Result:
    return Result(
        "fanout",
        "P5",
        "Fan-out",
        (Table(("µs",), (row("Rowcast", [1.0, 2.0, 4.0]), row("nchan", Missing("not here")))),),
        (Verdict("ratio", 0.7, 0.8), Verdict("throughput", 0.7, 0.8, at_least=True)),
        (Curve("Rowcast", ((1000.0, spread([1.0, 2.0])),)),),
        about={"processors": 2, "load": 0.1, "quick": False},
    )


def test_few_runs_are_shown_with_their_extremes() -> None:
    assert spread([3, 1, 2]) == Spread(2, 1, 3, 3)


def test_many_runs_are_shown_with_their_quartiles() -> None:
    assert spread([1, 2, 3, 4, 100]) == Spread(3, 1.5, 52, 5)


def test_a_ratio_is_taken_within_a_round() -> None:
    assert ratios([1, 20], [2, 10]) == [0.5, 2]
    with pytest.raises(ValueError, match="zip"):
        ratios([1], [1, 2])


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value


def test_a_verdict_looks_in_its_own_direction() -> None:
    assert Verdict("cost", 0.8, 0.8).met
    assert not Verdict("cost", 0.81, 0.8).met
    assert Verdict("share", 0.85, 0.85, at_least=True).met
    assert not Verdict("share", 0.84, 0.85, at_least=True).met


def test_what_is_missing_is_said() -> None:
    assert shown(Missing("apt install nchan"), 2) == "missing: apt install nchan"
    assert "Not measured, because missing: nchan (not here)" in publish.page(
        "<!-- bench:summary -->\n<!-- /bench -->", {"fanout": some()}
    )


def test_a_result_survives_json() -> None:
    assert result(json.loads(json.dumps(some().json()))) == some()


def test_a_page_holds_what_the_results_say_and_keeps_the_rest() -> None:
    text = "before\n<!-- bench:fanout -->\nold\n<!-- /bench -->\nafter\n"
    made = publish.page(text, {"fanout": some()})
    assert made.startswith("before\n<!-- bench:fanout -->\n`./dev bench fanout`")
    assert made.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in made
    assert "| Rowcast | 2.00 (1.00–4.00) |" in made
    assert "- **not met**: throughput: 0.7 (target ≥ 0.8)" in made
    assert publish.page(made, {"fanout": some()}) == made


def test_the_docs_show_what_was_measured_and_nothing_else() -> None:
    text = publish.PAGE.read_text("utf-8")
    assert publish.page(text, publish.kept()) == text, "run ./dev bench --render"


def test_the_docs_show_every_target() -> None:
    text = publish.PAGE.read_text("utf-8")
    assert [name for name in NAMES if f"<!-- bench:{name} -->" not in text] == []


def test_a_subscriber_says_its_own_number() -> None:
    assert said(["items/$n", "items/$n+7%10"], 5) == ["items/5", "items/2"]


def test_frames_come_whole_however_they_are_cut() -> None:
    small, large = b"\x81\x02{}", b"\x81\x7e\x01\x2c" + b"x" * 300
    stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + small + large + small
    frames = Frames()
    found = [one for at in range(len(stream)) for one in frames.feed(stream[at : at + 1])]
    assert found == [(1, b"{}"), (1, b"x" * 300), (1, b"{}")]


def test_who_is_not_let_in_says_why() -> None:
    with pytest.raises(ConnectionError, match="403"):
        Frames().feed(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def test_a_frame_of_a_client_is_masked() -> None:
    assert frame(b"{}") == b"\x81\x82\0\0\0\0{}"
