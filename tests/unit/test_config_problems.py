"""The config file: what a bad one is told, where, and without giving secrets away."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.config import loads
from bridge.config.model import SECTIONS, keys
from bridge.errors import ConfigError, Problem

ENV = {"DATABASE_URL": "postgresql://app:s3cret@db.example.com/shop"}


def problems(text: str, env: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        loads(text, env=ENV if env is None else env)
    return list(caught.value.problems)


# `|` marks the place.

BAD_TABLE = [
    ("{|tabel: x}", "tabel: unknown key (did you mean 'table'?)"),
    ("{|zzz: x}", "unknown key; known here are table, key, topics, columns"),
    ("{|port: 1}", "port: not a key here; it belongs under `server`"),
    ("{mode: |logs}", "t.mode: 'logs' must be state or log"),
    ("|5", "must be a mapping, such as `key: value`, not 5"),
    ("{key: |id}", "must be a list, such as `[a, b]`, not 'id'"),
    ("{|key: []}", "is an empty list; remove the key"),
    ("{|key: }", "key: is empty; write a value, or remove the key"),
    ("{key: [a, |no]}", "t.key[1]: no is a boolean to YAML; quote it: 'no'"),
    ("{key: [|012]}", "012 is a number to YAML; quote it: '012'"),
    ("{key: [|2024-01-31]}", "2024-01-31 is a date to YAML; quote it: '2024-01-31'"),
    ("{key: [a, |a]}", "'a' is in the list twice"),
    ("{key: [|{id}]}", "must be text, not a mapping; quote what starts with '{'"),
    ("{key: [|'']}", "is empty"),
    ("{key: [|" + "ä" * 32 + "]}", "is over 63 bytes"),
    ('{key: [|"a\\0"]}', "has a NUL"),
    ('{key: [|"\\ud800"]}', "half a character"),
    ("{key: [|'${NOPE}']}", "NOPE is not set in the environment"),
    ("{key: [|'${NOPE']}", "has '${' without NAME and '}'"),
    ("{key: [|'${A:-${B}}']}", "has '${' without NAME and '}'"),
    ("{key: [|*id]}", "the alias *id is not read here; write it out"),
    ("{key: |&id [a]}", "the anchor &id is not read here"),
    ("{key: |!!set {a}}", "the tag tag:yaml.org,2002:set is not read here"),
    ("{|<<: {key: [a]}}", "merge key"),
    ("{|no: a}", "the key no is a boolean to YAML; quote it: 'no'"),
    ('{|"\\ud800": a}', "half a character"),
    ("{|'[key]': a}", "unknown key"),
    ("{|2024: a}", "the key 2024 is a number to YAML"),
    ("{|[a]: a}", "a key must be text"),
    ("{key: [a], |key: [b]}", "t.key: is here twice, first in line 2"),
    ("{columns: [a], |exclude: [b]}", "is pointless beside columns"),
    ("{debounce: |100}", "100 has no unit; write 100ms or 100s"),
    ("{debounce: |'100'}", "'100' has no unit; write 100ms or 100s"),
    ("{debounce: |1d}", "'1d' is not a duration; write it like 100ms"),
    ("{debounce: |-1s}", "'-1s' is not a duration"),
    ("{debounce: |.inf}", ".inf is not a duration"),
    ("{max_wait: |999999s}", "'999999s' is over an hour"),
    ("{max_wait: |50ms}", "max_wait is 50ms, shorter than debounce, 100ms (the default)"),
    ("{debounce: |2s}", "max_wait is 1s (the default), shorter than debounce, 2s; raise max_wait"),
    ("{leading: |yes}", "yes must be written true or false"),
    ("{leading: |'true'}", "'true' must be written true or false"),
    ("{table: |a b}", "'a b' is not a table; quote odd names"),
    ("{table: |'Orders\"; drop'}", "is not a table"),
    ("{table: |a.b.c}", "has 3 parts"),
    ("{table: |[a]}".replace("table: |", "|table: "), "must be [schema, name] as a list"),
    ("{topics: |x}", "must be a list"),
    ("{topics: [|a//b]}", "'a//b': has an empty segment"),
    ("{topics: [|'a/x{b}']}", "mixes a column with other text"),
    ("{topics: [|'a/{b}/{b}']}", "has a column twice"),
    ("{topics: [a, |a]}", "'a' is in the list twice"),
    (
        "{topics: ['a/{b}', |'a/{c}']}",
        "t.topics[1]: makes the same topics as tables.t.topics[0] (config.yaml:2:16)",
    ),
    ("{topics: [orders/|{id}]}", "quote text with special characters in it"),
]

BAD_TABLE += [
    ("{document: |a b}", "t.document: 'a b' is not a table"),
    ("{|where: }", "t.where: is empty"),
    ("{where: |no}", "no is a boolean to YAML"),
    ("{operations: [|truncate]}", "'truncate' must be insert, update or delete"),
    ("{operations: [insert, |insert]}", "'insert' is in the list twice"),
    ("{|operations: []}", "is an empty list"),
    ("{operations: [insert], |changed: [a]}", "is pointless without update among the operations"),
    ("{trigger: |rows}", "'rows' must be statement or row"),
    ("{|through: {a: b}}", "is pointless without refreshes"),
    ("{|through: {}}", "t.through: is empty; write own_column: its_key_column"),
    ("{through: |a}", "must be a mapping"),
    ("{through: {a: |1}}", "t.through.a: 1 is a number to YAML"),
    ("{through: {|" + "ä" * 32 + ": b}}", "is over 63 bytes"),
    ("{through: {a: x, b: |x}}", "t.through.b: 'x' is named twice"),
    ("{refreshes: |t}", "t.refreshes: a table cannot refresh itself"),
    ("{refreshes: |x}", "t.refreshes: there is no table 'x' in this file; add it"),
]

BAD_FILE = [
    ("tables: {ab: , b: {refreshes: |abc}}", "in this file (did you mean 'ab'?)"),
    ("tables: {a: , b: {refreshes: a, where: |x}}", "b.where: means nothing here"),
    ("tables: {a: , b: {refreshes: a, |exclude: [x]}}", "add topics, or remove this"),
    (
        "tables: {a: {refreshes: |b}, b: {refreshes: c}, c: {refreshes: a}}",
        "a.refreshes: goes in a circle: a → b → c → a; break it at one place",
    ),
    ("tables: {t: }\nreconcile: |60", "60 has no unit; write 60ms or 60s"),
    ("|", "is empty; config.example.yaml shows"),
    ("|# nothing\n", "is empty"),
    ("|[orders]", "must be a mapping at the top"),
    ("tables: {t: }\n|---\ntables: {t: }", "a second document"),
    ("tables:\n|\tt:", "a tab; YAML indents with spaces"),
    ("tables: {t: |", "not YAML: expected the node content, but found '<stream end>'"),
    ("a: b|: c", "a second ': ' in one line"),
    ("a: |\7", "a control character (U+0007)"),
    ("a: " + "[" * 19 + "|[" + "]" * 20, "over 20 levels deep"),
    ("|debounce: 1s", "tables: is missing; name at least one table"),
    ("|tables:", "is empty"),
    ("|tables: {}", "is empty; name at least one table"),
    ("tables: {t: , |u: []}", "must be a mapping, such as `key: value`, not a list"),
    ("|tables: [a]", "must be a mapping, such as `key: value`, not a list"),
    ("tables: {|on: }", "the key on is a boolean to YAML; quote it: 'on'"),
    ("tables: {|'a/b': }", "a public name cannot hold '/'"),
    ("tables: {|a b: }", "a public name cannot hold ' '"),
    ("tables: {|" + "a" * 64 + ": }", "at most 63 characters"),
    ("tables: {|a.b.c: }", "the public name as table: 'a.b.c' has 3 parts"),
    ("tables: {'[key]': |5}", "must be a mapping"),
    ("tables: {a: , b: , |a: }", "tables.a: is here twice"),
    (
        "tables: {a: , b: {topics: [|a]}}",
        "tables.b.topics[0]: makes the same topics as tables.a (config.yaml:1:10)",
    ),
    ("tables: {t: }\n|deboucne: 1s", "deboucne: unknown key (did you mean 'debounce'?)"),
    ("tables: {t: }\n|topics: [a]", "it belongs to a table, under `tables`"),
    ("tables: {t: }\ndurable: |yes", "yes must be written true or false"),
    ("tables: {t: }\nretention: |100ms", "'100ms' is not a time to keep; write it like"),
    ("tables: {t: }\nretention: |100d", "'100d' must be from 1s to 90d"),
    ("tables: {t: }\nretention_size: |64KiB", "'64KiB' must be from 1MiB to 1024GiB"),
    ("|events: false", "tables: is missing; name at least one table"),
    (
        "events: true\ntables:\n  |events: {topics: [a]}",
        "by `events: true` (config.yaml:1:9); give this table another one, with `table: events`",
    ),
    (
        "events: true\ntables: {t: {topics: [|'events/{id}']}}",
        "makes the same topics as events (config.yaml:1:9); change a literal segment",
    ),
    (
        "tables: {t: , u: }\ndebounce: 9s\nmax_wait: |8s",
        "max_wait is 8s, shorter than debounce, 9s",
    ),
    ("tables: {t: {debounce: |9s}}\nmax_wait: 8s", "max_wait is 8s (the file's), shorter than"),
    ("tables: {t: }\nschema: |Rowcast", "'Rowcast' must be 1 to 63 of a-z, 0-9 and _"),
    ("tables: {t: {audit: |maybe}}", "'maybe' must be true, or false, or a mapping with values"),
    ("tables: {t: {|audit: {value: true}}}", "'value' is not a key here; known is values"),
    ("tables: {t: {|audit: {values: 3}}}", "values: 3 must be true or a list of columns"),
    ("tables: {t: {|audit: {values: [a, no]}}}", "no is a boolean to YAML; quote it: 'no'"),
    ("tables: {t: }\naudit_retention: |11y", "'11y' is not a time to keep"),
    ("tables: {t: }\naudit_retention: |4000d", "must be from 1s to 3650d"),
    ("tables: {t: }\ndefiner: |none", "'none' cannot be the name of a role"),
    ("tables: {t: }\nschema: |pg_rowcast", "PostgreSQL keeps names with pg_"),
    ("tables: {t: }\ndatabase: |nonsense", "database: is not a connection string (missing"),
    ("tables: {t: }\ndatabase: |mysql://h/d", "mysql:// is not PostgreSQL's; write postgresql://"),
    ("tables: {t: }\n|listen:", "listen: is empty"),
    ("tables: {t: }\nserver: |8765", "must be a mapping"),
    ("tables: {t: }\nserver: {port: |65536}", "65536 must be from 0 to 65535"),
    ("tables: {t: }\nserver: {port: |-1}", "-1 must be a whole number"),
    ("tables: {t: }\nserver: {port: |012}", "012 is octal to YAML; write 12"),
    ("tables: {t: }\nserver: {port: |'80'}", "'80' is text; write 80, without quotes"),
    ("tables: {t: }\nserver: {port: |1e3}", "'1e3' must be a whole number"),
    ("tables: {t: }\nserver: {host: |'a:80'}", "is not an address or a host name; server.port"),
    ("tables: {t: }\nserver: {allowed_origins: [|'*']}", "has a '*'; list each origin"),
    ("tables: {t: }\nserver: {allowed_origins: [|'https://a/']}", "is not an origin"),
    ("tables: {t: }\nserver: {allowed_origins: [|'https://A.b']}", "in lower case"),
    ("tables: {t: }\nserver: {allowed_origins: [|a.b]}", "write scheme://host[:port]"),
    ("tables: {t: }\nserver: {allowed_origins: [|'https://a:443']}", "browsers leave :443 out"),
    ("tables: {t: }\nserver: {allowed_origins: [|'http://a:99999']}", "at most 65535"),
    ("tables: {t: }\nserver: {proxies: [|10.0.0.1/8]}", "is not an address or a network"),
    ("tables: {t: }\nlimits: {connections: |0}", "0 must be from 1 to"),
    ("tables: {t: }\nlimits: {message: |64KB}", "'64KB' is not a size; write it like 512B, 64KiB"),
    ("tables: {t: }\nlimits: {message: |0}", "0 must be from 1B"),
]


@pytest.mark.parametrize(
    ("marked", "message"),
    [*((f"tables:\n  t: {entry}", message) for entry, message in BAD_TABLE), *BAD_FILE],
)
def test_a_problem_has_its_place_and_remedy(marked: str, message: str) -> None:
    before, _, after = marked.partition("|")
    place = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [p for p in problems(before + after) if message in f"{p.path}: {p.message}"]
    assert [(p.line, p.column) for p in found] == [place], problems(before + after)


def test_all_problems_come_at_once_and_in_order() -> None:
    text = (
        "deboucne: 1s\nleading: on\ntables:\n  a:\n    columns: [x]\n    exclude: ['${NOPE}']\n"
        "    topics: [b]\n  b:\n    max_wait: 1ms\n  b:\nserver: {port: ninety}\n"
    )
    assert [str(problem).split(": ")[:2] for problem in problems(text, {})] == [
        ["config.yaml:1:1", "deboucne"],
        ["config.yaml:1:1", "database"],
        ["config.yaml:2:10", "leading"],
        ["config.yaml:6:5", "tables.a.exclude"],
        ["config.yaml:6:15", "tables.a.exclude[0]"],
        ["config.yaml:8:3", "tables.b"],
        ["config.yaml:9:15", "tables.b.max_wait"],
        ["config.yaml:10:3", "tables.b"],
        ["config.yaml:11:16", "server.port"],
    ]


def test_one_mistake_is_one_problem() -> None:
    assert len(problems("tables: {t: {topics: ['${NOPE}']}}")) == 1
    assert len(problems("tables: {t: {table: ['${NOPE}', x]}}")) == 1
    assert len(problems("debounce: 5s\ntables: {t: , u: }")) == 1
    assert len(problems("tables: {t: {key: [a, a]}}")) == 1
    assert len(problems("tables: {t: {topics: [a, a]}}")) == 1


def test_the_database_must_come_from_somewhere() -> None:
    (problem,) = problems("tables: {t: }", {})
    assert str(problem) == "config.yaml:1:1: database: is missing; write it, or set DATABASE_URL"
    (problem,) = problems("tables: {t: }", {"DATABASE_URL": "nonsense"})
    assert problem.message.startswith("DATABASE_URL in the environment is not a connection string")


# Secrets


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://u:s3cr%zz@h/d",
        "postgresql://u:p@h/d?s3cr=1",
        "host=h password='s3cr",
        "s3cr",
        "host=h s3cr=1",
        'host=h s3cr"s3cr=1',
    ],
)
def test_a_bad_connection_string_is_not_quoted(written: str) -> None:
    for text, env in [
        (f"database: {json.dumps(written)}", {}),
        ("database: ${DB}", {"DB": written}),
        ("", {"DATABASE_URL": written}),
    ]:
        with pytest.raises(ConfigError) as caught:
            loads(f"tables: {{t: }}\n{text}", env=env)
        assert "s3cr" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "entry",
    [
        "schema: ${S}",
        "debounce: ${S}",
        "leading: ${S}",
        "server: {host: '${S}', port: '${S}', allowed_origins: ['${S}']}",
        "limits: {connections: '${S}', message: '${S}'}",
        "tables: {t: {table: '${S}', topics: ['${S}'], key: '${S}', columns: ['${S}', '${S}']}}",
        "tables: '${S}'",
        "server: '${S}'",
    ],
)
def test_a_problem_never_shows_the_environment(entry: str) -> None:
    text = entry if entry.startswith("tables") else f"tables: {{t: }}\n{entry}"
    found = problems(text, ENV | {"S": "mysql://u:s3cr et@h//d"})
    assert "s3cr" not in str(ConfigError(found))
    assert "${S}" in str(ConfigError(found))


def test_the_repr_has_no_password() -> None:
    assert "s3cret" not in repr(loads("tables: {t: }", env=ENV))


# Anything at all


def test_an_alias_bomb_is_refused_without_being_walked() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))
    assert any("anchor" in problem.message for problem in problems(f"a0: &a0 x\n{levels}"))


_NAMES = sorted({key for section in SECTIONS for key in keys(section)})
_ODD = [
    *(
        "",
        "no",
        "012",
        "1",
        "-1",
        "1.5",
        "1:99",
        "0x_",
        "9" * 5000,
        "~",
        "2024-01-01",
        "2024-13-45",
    ),
    *("a", "1s", "host=a", "{a}", "'a/{b}'", "[a, b]", "[[a]]", "- a", "? a", "%", "@", "`", "\t"),
    *("${A}", "${", "$${", "*x", "&x y", "!!int z", "!x", "<<", "="),
    *('"\\0"', '"\\ud800"', '"\\U00110000"'),
]
_LEAVES = st.sampled_from(_ODD)
_BLOCKS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(_NAMES) | _LEAVES, inner, max_size=4).map(
            lambda found: "{" + ", ".join(f"{k}: {v}" for k, v in found.items()) + "}"
        ),
        st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]"),
    ),
    max_leaves=8,
)
_FILES = st.dictionaries(st.sampled_from(_NAMES) | _LEAVES, _BLOCKS, max_size=5).map(
    lambda found: "\n".join(f"{k}: {v}" for k, v in found.items())
)


@settings(deadline=None)
@given(st.one_of(_FILES, _FILES.map("tables: {{t: {{key: [a]}}}}\n{}".format), st.text()))
@example('a: "\\Uffffffff"')
@example("[" * 1000)
@example("%YAML 1.1\n---\n")
@example("? " * 2000)
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    try:
        found: tuple[Problem, ...] = ()
        loads(text, env=ENV)
    except ConfigError as error:
        found = error.problems
    assert all(problem.line and problem.message for problem in found)
