"""What a read of kept payloads brings, from the one text that it comes as."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.changelog import changes, payloads
from bridge.changes import Change, Gap, Malformed, parse

WIDTHS = {"orders": (1, 1), "items": (2, 0)}
SEEN = '{"t":"orders","o":"u","k":[["1"],["2",null]]}'

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
keys = st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=3)
said = st.builds(
    lambda table, operation, found, plain: json.dumps(
        {"t": table, "o": operation, "k": found}, ensure_ascii=plain
    ),
    st.sampled_from(["orders", "items", "gone"]),
    st.sampled_from(["i", "u", "d", "*", "?"]),
    keys,
    st.booleans(),
)
anything = said | texts | st.sampled_from([SEEN[:-1], SEEN + "]", "[1,2", SEEN + ",", "null", "7"])
written = st.lists(st.tuples(st.integers(1, 2**64 - 1), st.floats(0, 1e6), anything), max_size=6)


def one_by_one(rows: list[tuple[int, float, str]]) -> tuple[list[Change], list[Gap]]:
    """By what reads a single notification."""
    found: list[Change] = []
    gaps: dict[Gap, None] = {}
    for _, age, text in rows:
        try:
            parsed = parse(text, WIDTHS)
        except Malformed:
            parsed = Gap(None, "kept by another config")
        if isinstance(parsed, list):
            found += [change._replace(age=age) for change in parsed]
        elif isinstance(parsed, Gap):
            gaps[parsed] = None
    return found, list(gaps)


@given(written)
@example([(2**64 - 1, 0.0, SEEN), (1, 0.25, '{"t":"orders"')])
@example([(7, 1.0, SEEN + "],[8,0.5," + SEEN)])
@example([(7, 1.0, "[" * 5000), (8, 1.0, SEEN)])
@example([(7, 1.0, "\n"), (8, 1.0, SEEN)])
def test_all_together_say_what_each_does_alone(rows: list[tuple[int, float, str]]) -> None:
    # As PostgreSQL writes it, which knows no exponents here, and lets no line end.
    rows = [(xid, round(age, 6), text.replace("\n", "\1")) for xid, age, text in rows]
    text = ",\n".join(f"[{xid},{age:.6f},{payload}]" for xid, age, payload in rows)
    read = payloads(text, len(rows))
    assert [(payload.xid, payload.age) for payload in read] == [row[:2] for row in rows]
    assert changes(read, WIDTHS) == one_by_one(rows)
