"""./dev mutants: exit status 1 if a mutant survives, or if nothing can be told.

    ./dev mutants [NAME …] [--pg 15]

`NAME` is a part of a mutant's name; without one, all are tried.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutants import MUTANTS, Edit, Mutant

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
KEPT = ("alembic", "bridge", "clients", "tests", "pyproject.toml", "alembic.ini")


def main() -> None:
    arguments = _arguments()
    chosen = [m for m in MUTANTS if any(name in m.name for name in arguments.names or [""])]
    pg = [f"--pg={arguments.pg}"] if arguments.pg else []
    tests = sorted({mutant.test for mutant in chosen if mutant.test})
    print(f"without any edit: {len(tests)} tests … ", end="", flush=True)
    passed, said = _run((), tests, pg)
    print("passed" if passed else "FAILED, so that nothing can be told")
    if not passed:
        sys.exit(said)
    survived = [mutant for mutant in chosen if not _killed(mutant, pg)]
    made = [mutant for mutant in chosen if mutant.edits]
    print(f"{len(made) - len(survived)} of {len(made)} killed")
    sys.exit(1 if survived else 0)


def _killed(mutant: Mutant, pg: list[str]) -> bool:
    """Whether its test fails; one that cannot be made yet is said to be so, and left out."""
    print(f"{mutant.name:42} ", end="", flush=True)
    if not mutant.edits:
        print(f"not applicable until there is {mutant.awaits}")
        return True
    began = time.monotonic()
    passed, said = _run(mutant.edits, [mutant.test], pg)
    word = "SURVIVED" if passed else "killed"
    print(f"{word:9} {time.monotonic() - began:4.0f} s  {mutant.test.rpartition('::')[2]}")
    if not passed:
        print(f"{'':4}{_why(said)}")
    return not passed


def _why(said: str) -> str:
    """What the failed assertion says first."""
    lines = [line for line in said.splitlines() if line.startswith("E  ")]
    return lines[0].removeprefix("E").strip()[:150] if lines else said[-150:]


def _run(edits: Iterable[Edit], tests: list[str], pg: list[str]) -> tuple[bool, str]:
    """Run the tests in a copy with these edits; whether they passed, and what pytest said."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        _copy(copy)
        for edit in edits:
            _make(copy, edit)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *pg, *tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": directory, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):  # neither passed nor failed: no test was run
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0, done.stdout + done.stderr


def _copy(directory: Path) -> None:
    for name in KEPT:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source, directory / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, directory / name)


def _make(copy: Path, edit: Edit) -> None:
    path = copy / edit.path
    path.write_text(edited(path.read_text(encoding="utf-8"), edit), encoding="utf-8")


def edited(text: str, edit: Edit) -> str:
    """Raises ValueError if the code has changed so much that the edit means nothing."""
    if text.count(edit.old) != 1:
        found = text.count(edit.old)
        raise ValueError(f"{edit.path}: {edit.old!r} occurs {found} times, not once; renew it")
    return text.replace(edit.old, edit.new)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev mutants", description="Break the bridge in known ways; a test must notice."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of mutants' names")
    parser.add_argument("--pg", metavar="wheel|local|VERSION", help="which PostgreSQL")
    return parser.parse_args()


if __name__ == "__main__":
    main()
