"""A key is the same text wherever it is written, and the text leads back to the row.

And whatever keys there are, a payload stays below PostgreSQL's limit: either all keys
of a statement are announced, or a gap is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.errors import FeatureNotSupported

from bridge.changes import Change, Gap, parse
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from psycopg import Connection

# type → values, all different
TYPES = {
    "int2": ["0", "-32768"],
    "int4": ["1", "-2147483648"],
    "int8": ["1", "9223372036854775807"],
    "numeric": ["1.0", "1.10", "NaN", "123456789012345678901234567890.5"],
    "numeric(6,2)": ["1", "1.1"],
    "bool": ["true", "false"],
    "uuid": ["5f0c4f3e-1b7e-4bf0-9d6a-000000000001", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    "text": [
        "",
        " ",
        "a",
        'q"uo\\te',
        "new\nline\ttab\x07",
        "é😀\u2028",
        "a/b%{c}",
        "null",
        "O'Neil",
    ],
    "varchar(3)": ["a", "abc"],
    "char(4)": ["a", "ab c"],
    '"char"': ["x", "y"],
    "name": ["a", "B c"],
    "date": ["2024-02-29", "0044-03-15 BC", "infinity"],
    "time": ["12:34:56.789", "24:00:00"],
    "timestamp": ["2024-02-29 12:34:56.789012", "-infinity"],
    "timestamptz": ["2024-03-31 01:30:00.5+00", "infinity", "0044-03-15 12:00:00 BC"],
    "interval": ["1 day", "-1 mon +2 days 03:04:05.678"],
    "float8": ["0.1", "1e300", "3.141592653589793"],
    "float4": ["0.1", "16777216"],
    "bytea": ["\\x00ff", "\\x5c27"],
    "inet": ["10.0.0.1", "10.0.0.0/8"],
    "daterange": ["[2024-01-01,2024-02-01)", "empty"],
    "date[]": ["{2024-01-01,NULL}", "{}"],
    "bit(3)": ["101", "000"],
    "mood": ["sad", "quite ok"],
    "positive": ["1", "2"],
    "day": ["2024-02-29", "2024-03-01"],
}

SESSIONS = [
    {},
    {
        "DateStyle": "German, DMY",
        "TimeZone": "America/St_Johns",
        "IntervalStyle": "sql_standard",
        "bytea_output": "escape",
        "extra_float_digits": "-3",
    },
]


@pytest.mark.parametrize("kind", TYPES)
def test_a_key_leads_back_to_its_row(connection: Connection, admin: Connection, kind: str) -> None:
    connection.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'quite ok');"
        "CREATE DOMAIN positive AS int CHECK (value > 0); CREATE DOMAIN day AS date;"
        f"CREATE TABLE t (k {kind} PRIMARY KEY, n int, o {kind})"
    )
    tables = watch(connection, entry("t", topics=("t/{k}", "o/{o}")))
    ear, type_ = Ear(admin, tables), sql.SQL(tables["t"].key[0].type)

    def announced(number: int) -> Change:
        (change,) = ear.changes()
        assert isinstance(change, Change)
        read = sql.SQL("SELECT n FROM t WHERE k = {}::{}").format(*change.key, type_)
        assert admin.execute(read).fetchall() == [(number,)]
        return change

    for session in SESSIONS:
        connection.execute("DELETE FROM t")
        ear.payloads()
        for name, setting in session.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, setting))
        for number, value in enumerate(TYPES[kind], 1):
            insert = sql.SQL("INSERT INTO t VALUES ({v}::{k}, {n}, {v}::{k})")
            connection.execute(insert.format(v=value, k=sql.SQL(kind), n=number))
            announced(number)
            connection.execute("UPDATE t SET n = -n WHERE n = %s", (number,))
            announced(-number)
            connection.execute("UPDATE t SET o = NULL WHERE n = %s", (-number,))
            change = announced(-number)
            assert change.old == change.key


def test_equal_but_different_keys_are_two(connection: Connection, admin: Connection) -> None:
    """1.0 = 1.00, and yet their texts are two keys to every subscriber."""
    connection.execute("CREATE TABLE t (k numeric PRIMARY KEY); INSERT INTO t VALUES (1.0)")
    ear = Ear(admin, watch(connection, entry("t")))
    connection.execute("UPDATE t SET k = 1.00")
    assert {(change.key, change.operation) for change in ear.changes()} == {
        (("1.00",), "i"),
        (("1.0",), "d"),
    }


def test_a_collation_that_ignores_case(connection: Connection, admin: Connection) -> None:
    options = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
    try:
        connection.execute(f"CREATE COLLATION blind ({options})")
    except FeatureNotSupported:
        pytest.skip("this server is built without ICU")
    connection.execute(
        "CREATE TABLE t (k text COLLATE blind PRIMARY KEY, r text COLLATE blind);"
        "INSERT INTO t VALUES ('a', 'x')"
    )
    ear = Ear(admin, watch(connection, entry("t", topics=("t/{k}", "r/{r}"))))
    connection.execute("UPDATE t SET r = 'X'")
    assert ear.changes() == [Change("t", ("a",), "u", ("x",))]
    connection.execute("UPDATE t SET k = 'A'")
    assert {change.key for change in ear.changes()} == {("a",), ("A",)}


def test_citext(connection: Connection, admin: Connection) -> None:
    if not connection.execute(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'citext'"
    ).fetchone():
        pytest.skip("this server has no citext")
    connection.execute(
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;"
        "CREATE TABLE t (k ext.citext PRIMARY KEY); INSERT INTO t VALUES ('Ann')"
    )
    ear = Ear(admin, watch(connection, entry("t")))
    connection.execute("UPDATE t SET k = 'ANN'")
    assert {change.key for change in ear.changes()} == {("Ann",), ("ANN",)}


def test_composite_keys_and_routing(connection: Connection, admin: Connection) -> None:
    connection.execute(
        "CREATE TABLE t (a int, b text, c uuid, r1 date, r2 text, PRIMARY KEY (b, a));"
        "INSERT INTO t VALUES (1, 'x', NULL, '2024-02-29', 'old'), (2, 'x', NULL, NULL, NULL)"
    )
    topics = ("{r2}/{r1}", "t/{a}")
    ear = Ear(admin, watch(connection, entry("t", key=("a", "b"), topics=topics)))
    connection.execute("UPDATE t SET r2 = 'new'")
    assert ear.changes() == [
        Change("t", ("1", "x"), "u", ("old", "2024-02-29")),
        Change("t", ("2", "x"), "u", (None, None)),
    ]


@pytest.fixture
def strings(connection: Connection, admin: Connection) -> Ear:
    connection.execute("CREATE TABLE t (k text NOT NULL, n int NOT NULL, r text, UNIQUE (n, k))")
    tables = watch(connection, entry("t", key=("k", "n"), topics=("t", "r/{r}")))
    # The index would refuse keys too long for it; a payload has to cope with any.
    connection.execute("ALTER TABLE t DROP CONSTRAINT t_n_k_key")
    return Ear(admin, tables)


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
keys = st.one_of(
    st.text(characters, max_size=20),
    st.sampled_from(["", '"', "\\", "\n", "é😀", "\x01"]).flatmap(
        lambda text: st.integers(0, 3000).map(lambda count: text * count)
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(keys, st.one_of(st.none(), keys)), max_size=60),
    times=st.sampled_from([1, 1, 1, 7, 20]),
)
def test_every_key_or_a_gap(
    strings: Ear, connection: Connection, rows: list[tuple[str, str | None]], times: int
) -> None:
    connection.execute("TRUNCATE t")
    strings.payloads()
    connection.execute(
        "INSERT INTO t SELECT k, row_number() OVER (), r FROM"
        " unnest(%s::text[], %s::text[]) AS u(k, r), generate_series(1, %s)",
        ([key for key, _ in rows], [route for _, route in rows], times),
    )
    _complete(strings, connection, rows, times)
    connection.execute("UPDATE t SET r = coalesce(r, '') || 'x'")
    _complete(strings, connection, rows, times)
    connection.execute("UPDATE t SET n = -n")
    _complete(strings, connection, rows, 2 * times)


def _complete(
    ear: Ear, connection: Connection, rows: list[tuple[str, str | None]], times: int
) -> None:
    payloads = ear.payloads()
    assert all(len(payload.encode()) <= 7_999 for payload in payloads)
    parsed = [parse(payload, {"t": (2, 1)}) for payload in payloads]
    if Gap("t", "many keys changed") in parsed:
        assert not any("e" in json.loads(payload) for payload in payloads)
        longest = max(len(json.dumps(pair, ensure_ascii=False).encode()) for pair in rows)
        assert longest > 2_000 or len(rows) * times > 1_000
        return
    changes = [change for batch in parsed for change in batch]
    assert len(changes) == len(rows) * times
    wanted = {(k, str(abs(n))) for k, n in connection.execute("SELECT k, n FROM t").fetchall()}
    assert {(key, str(abs(int(n)))) for key, n in (change.key for change in changes)} == wanted
