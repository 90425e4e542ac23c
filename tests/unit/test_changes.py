"""Payloads of notifications: what a trigger writes is read, anything else is Malformed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.changes import Change, Gap, Malformed, Operation, Ring, parse

WIDTHS = {"orders": (1, 1), "items": (2, 0)}


@pytest.mark.parametrize(
    ("payload", "changes"),
    [
        ('{"t":"orders","o":"i","k":[["42"]]}', [("orders", ("42",), "i", None)]),
        ('{"t":"orders","o":"u","k":[["42","7"]]}', [("orders", ("42",), "u", ("7",))]),
        ('{"t":"orders","o":"d","k":[["42",null]]}', [("orders", ("42",), "d", (None,))]),
        (
            '{"t":"items","o":"u","k":[["1","a"],["1","é\\n🛒"]]}',
            [("items", ("1", "a"), "u", None), ("items", ("1", "é\n🛒"), "u", None)],
        ),
        ('{"t":"orders","o":"u","k":[["\\ud83d\\uded2"]]}', [("orders", ("🛒",), "u", None)]),
        ('{"t":"orders","o":"u","k":[[""]],"later":1}', [("orders", ("",), "u", None)]),
    ],
)
def test_changes(payload: str, changes: list[tuple[str, tuple[str, ...], str, Any]]) -> None:
    expected = [Change(t, key, Operation(o), old) for t, key, o, old in changes]
    assert parse(payload, WIDTHS) == expected


@pytest.mark.parametrize(
    "payload", ['{"t":"orders","o":"*"}', '{"t":"orders","o":"*","e":"22P02"}']
)
def test_the_marker_is_a_gap(payload: str) -> None:
    gap = parse(payload, WIDTHS)
    assert isinstance(gap, Gap)
    assert gap.table == "orders"


KEYS = '{"t":"orders","o":"u","k":%s}'

MALFORMED = {
    "nothing": "",
    "no JSON": "hello",
    "cut short": '{"t":"orders","o":"u","k":[["4',
    "a list": "[]",
    "null": "null",
    "a number": "1",
    "a string": '"t"',
    "empty": "{}",
    "depth 1,000": "[" * 1000 + "]" * 1000,
    "depth 3,900 in a key": KEYS % ("[" * 3900 + "]" * 3900),
    "a number of 7,900 digits": KEYS % f"[[{'9' * 7900}]]",
    "7,999 bytes": "x" * 7999,
    "unknown table": '{"t":"nope","o":"u","k":[["1"]]}',
    "unknown table, marker": '{"t":"nope","o":"*"}',
    "table of a wrong type": '{"t":["orders"],"o":"u","k":[["1"]]}',
    "table null": '{"t":null,"o":"u","k":[["1"]]}',
    "unknown operation": '{"t":"orders","o":"x","k":[["1"]]}',
    "operation of a wrong type": '{"t":"orders","o":["u"],"k":[["1"]]}',
    "no operation": '{"t":"orders","k":[["1"]]}',
    "no keys": '{"t":"orders","o":"u"}',
    "keys null": KEYS % "null",
    "keys a string": KEYS % '"42"',
    "keys an object": KEYS % '{"4":1}',
    "key a string": KEYS % '["42"]',
    "key an object": KEYS % '[{"4":1}]',
    "key a number": KEYS % "[42]",
    "empty key": KEYS % "[[]]",
    "number in a key": KEYS % "[[42]]",
    "1e400 in a key": KEYS % "[[1e400]]",
    "2^70 in a key": KEYS % f"[[{2**70}]]",
    "NaN in a key": KEYS % "[[NaN]]",
    "null in a key": KEYS % "[[null]]",
    "NUL in a key": KEYS % '[["\\u0000"]]',
    "half a pair in a key": KEYS % '[["\\ud800"]]',
    "number in the old values": KEYS % '[["42",7]]',
    "half a pair in the old values": KEYS % '[["42","\\udc00"]]',
    "too wide": KEYS % '[["42","7","8"]]',
    "too narrow": '{"t":"items","o":"u","k":[["1"]]}',
    "one bad of many": KEYS % ("[" + '["1"],' * 500 + "[1]]"),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_no_trigger_wrote_is_malformed(payload: str) -> None:
    with pytest.raises(Malformed):
        parse(payload, WIDTHS)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "t": st.sampled_from(["orders", "items"]) | json_values,
        "o": st.sampled_from("iud*") | json_values,
        "k": st.lists(st.lists(st.text(st.characters(), max_size=2) | json_values)) | json_values,
    },
)


@given(st.text() | st.builds(json.dumps, json_values | near_misses))
@example('{"t":"orders","o":"u","k":"' + "1" * 7000 + '"}')
def test_any_payload_is_read_or_malformed(payload: str) -> None:
    try:
        result = parse(payload, WIDTHS)
    except Malformed:
        return
    for change in result if isinstance(result, list) else []:
        key, old = WIDTHS[change.table]
        assert len(change.key) == key
        assert change.old is None or len(change.old) == old
        "".join(change.key + tuple(filter(None, change.old or ()))).encode()


RING = '{"ring":"changes","xid":"7",%s}'


def test_a_ring_may_name_what_was_written() -> None:
    said = RING % '"t":"orders","o":"u","k":[["42","7"]]'
    named = Change("orders", ("42",), Operation.UPDATE, ("7",))
    assert parse(said, {"orders": (1, 1)}) == Ring("changes", xid="7", changes=(named,))


@pytest.mark.parametrize(
    "named",
    [
        '"t":"another","o":"u","k":[["42"]]',
        '"t":"orders","o":"?","k":[["42"]]',
        '"t":"orders","o":"*","k":[["42"]]',
        '"t":"orders","o":"u","k":[["1","2","3"]]',
        '"t":"orders","o":"u","k":[]',
        '"t":"orders"',
    ],
)
def test_a_ring_is_one_whatever_it_names(named: str) -> None:
    assert parse(RING % named, {"orders": (1, 1)}) == Ring("changes", xid="7")
