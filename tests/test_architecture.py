"""What the code's shape promises: imports point down, files stay short, nothing local leaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LIMIT = 300
LONGER = {  # path below bridge/ → why it may be longer
}

# What one machine has and the next has not: package registries, private directories.
REGISTRY = re.compile(
    r"https?://[^\s\"'<>)]*(?:pypi|pythonhosted|npmjs|artifactory|nexus|/simple/)"
    r"|--(?:(?:extra-)?index-url|find-links|trusted-host)|PIP_(?:INDEX_URL|FIND_LINKS)"
)
MACHINE = re.compile(r"(?<![\w.*])/(?:root|work|opt/wheels|tmp/v\d|home/\w+|Users/\w+)/")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tracked() -> list[str]:
    listing = run("git", "-c", "safe.directory=*", "ls-files", "-z")
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name in tracked()
        for number, line in enumerate(text(ROOT / name).splitlines(), 1)
        if pattern.search(line)
    ]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def test_imports_point_one_way() -> None:
    command = "from importlinter.cli import lint_imports_command as run; run()"
    done = run(sys.executable, "-c", command, "--no-cache", "--no-logo")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_directory_alembic_is_no_package() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_the_package_alembic_is_the_installed_one() -> None:
    done = run(
        sys.executable, "-c", "import alembic; from alembic import op; print(alembic.__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "alembic")


def test_files_stay_short() -> None:
    bridge = ROOT / "bridge"
    lengths = {
        str(path.relative_to(bridge)): len(text(path).splitlines()) for path in bridge.rglob("*.py")
    }
    too_long = {name for name, length in lengths.items() if length > LIMIT}
    assert too_long == set(LONGER)


def test_no_file_names_a_package_registry() -> None:
    assert not lines_with(REGISTRY)


def test_no_file_names_a_directory_of_one_machine() -> None:
    assert not lines_with(MACHINE)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (REGISTRY, "index = https://" + "pypi.example.com/simple/"),
        (REGISTRY, "pip install --index" + "-url x"),
        (MACHINE, 'path = "/ro' + 'ot/project"'),
        (MACHINE, "/ho" + "me/someone/x"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)
