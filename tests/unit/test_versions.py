"""Which bridge goes with which database."""

from __future__ import annotations

import json

import pytest

from bridge import versions
from bridge.history import scripts


def written(schema: int, since: int) -> str:
    return "about. rowcast: " + json.dumps({"schema": schema, "since": since})


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that makes version 3, for those that know 2, and works with 2 and later."""
    for name, value in (("SCHEMA", 3), ("SINCE", 2), ("NEEDS", 2)):
        monkeypatch.setattr(versions, name, value)


@pytest.mark.usefixtures("third")
@pytest.mark.parametrize(
    ("schema", "since", "refused", "newer"),
    [
        (1, 1, "needs 2 or later; run `rowcast migrate`", None),
        (2, 1, None, None),
        (3, 2, None, None),
        (4, 3, None, "made by a newer rowcast"),
        (5, 4, "takes a bridge that knows 4 or later", "made by a newer rowcast"),
    ],
)
def test_either_may_be_the_newer_one(
    schema: int, since: int, refused: str | None, newer: str | None
) -> None:
    mark = written(schema, since)
    for found, expected in (
        (versions.refusal(mark, "rowcast"), refused),
        (versions.newer(mark, "rowcast"), newer),
    ):
        assert found is None if expected is None else expected in (found or "")
    assert (versions.remark(mark) is None) == (schema == 3)


@pytest.mark.parametrize("text", ["", "something else", "rowcast: {}", "rowcast: {nonsense}"])
def test_a_comment_that_says_nothing_refuses_nobody(text: str) -> None:
    assert versions.read(text) is None
    assert versions.refusal(text, "rowcast") is versions.newer(text, "rowcast") is None


def test_the_version_is_that_of_the_last_revision() -> None:
    """And that revision writes down what this version says."""
    own = sorted((scripts() / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))
    assert len(own) == versions.SCHEMA
    last = own[-1].read_text(encoding="utf-8")
    assert "".join(versions.comment().split()) in "".join(last.replace("'", "").split())
    assert versions.SINCE <= versions.SCHEMA >= versions.NEEDS
