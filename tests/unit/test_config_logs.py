"""What does not go together with `mode: log`, each said at its place."""

from __future__ import annotations

import pytest

from bridge.config import loads
from bridge.errors import ConfigError

ENV = {"DATABASE_URL": "postgresql://h/d"}


@pytest.mark.parametrize(
    ("tables", "path", "message"),
    [
        ("t: {mode: log, operations: [insert]}", "tables.t.operations", "only inserts count"),
        ("t: {mode: log, changed: [a]}", "tables.t.changed", "only inserts count"),
        ("t: {mode: log, debounce: 1s}", "tables.t.debounce", "sent at once"),
        ("t: {mode: log, leading: true}", "tables.t.leading", "sent at once"),
        ("t: {mode: log, durable: false}", "tables.t.durable", "always kept"),
        ("u:\n  t: {mode: log, refreshes: u}", "tables.t.refreshes", "under a second name"),
        ("t: {mode: log}\n  u: {refreshes: t}", "tables.u.refreshes", "'t' is a log"),
        ("t: {position: id}", "tables.t.position", "add `mode: log`"),
        ("t: {mode: logs}", "tables.t.mode", "must be state or log"),
    ],
)
def test_a_contradiction_is_told(tables: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"tables:\n  {tables}\n", env=ENV)
    found = [(problem.path, problem.message) for problem in caught.value.problems]
    assert any(path == where and message in said for where, said in found), found


def test_what_says_what_is_sent_is_taken() -> None:
    text = "{mode: log, position: n, durable: true, exclude: [a], document: v, where: a > 1}"
    table = loads(f"durable: true\ntables: {{t: {text}}}", env=ENV).tables["t"]
    assert (table.mode, table.position, table.document) == ("log", "n", (None, "v"))
