from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bridge.config import loads
from bridge.reload import differences

if TYPE_CHECKING:
    from bridge.config import Config


def config(text: str = "", tables: str = "  orders:\n") -> Config:
    return loads(f"database: postgresql:///a\n{text}tables:\n{tables}")


def test_what_is_served_may_differ() -> None:
    other = config(
        "reconcile: 5s\ndebounce: 50ms\n",
        "  # a line more\n  items: {debounce: 200ms, max_wait: 5s}\n",
    )
    assert list(differences(config(), other)) == []
    assert list(differences(config(), replace(config(), file="elsewhere.yaml"))) == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("schema: other\n", [("schema",)]),
        ("listen: postgresql:///b\n", [("listen",)]),
        ("server: {port: 1}\n", [("server", "port")]),
        ("limits: {connections: 5}\n", [("limits", "connections")]),
        ("auth: none\n", [("auth",)]),
        (
            "server: {allowed_origins: ['https://a.example'], drain: 5s}\n",
            [("server", "allowed_origins"), ("server", "drain")],
        ),
    ],
)
def test_what_connections_were_made_by_may_not(text: str, paths: list[tuple[str, ...]]) -> None:
    assert list(differences(config(), config(text))) == paths


def test_another_database_may_not() -> None:
    other = replace(config(), database="postgresql:///elsewhere")
    assert list(differences(config(), other)) == [("database",)]
