"""That each mutant can still be made, and names a test that exists. `./dev mutants` runs them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant
from tests.mutants.__main__ import edited

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_can_be_made(mutant: Mutant) -> None:
    for edit in mutant.edits:
        text = (ROOT / edit.path).read_text(encoding="utf-8")
        ast.parse(edited(text, edit))
    assert bool(mutant.edits) is not bool(mutant.awaits)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.test], ids=lambda mutant: mutant.name)
def test_it_names_a_test(mutant: Mutant) -> None:
    path, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {getattr(node, "name", None) for node in tree.body}
