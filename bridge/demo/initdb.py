"""A data directory: made if it is not there, and only whole ones count.

It is made beside its place and then renamed, so that an interrupted initdb leaves
nothing that the next start would take for a database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from bridge.demo.account import environment, identity
from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.demo.account import Account
    from bridge.demo.binaries import Binaries

_LOCALES = ("C.UTF-8", "C")  # the first is not there on every system


def ensure_data(data: Path, binaries: Binaries, account: Account | None) -> None:
    """Make the directory, or check that these binaries can use what is there.

    Raises `DatabaseError`.
    """
    marker = data / "PG_VERSION"
    if not marker.exists():
        _make(data, binaries, account)
    if (major := marker.read_text().strip()) != str(binaries.major):
        raise DatabaseError(
            f"{data}: made by PostgreSQL {major}, but this is {binaries}; choose another"
            " directory, or that version's binaries with ROWCAST_PG_BIN"
        )


def _make(data: Path, binaries: Binaries, account: Account | None) -> None:
    partial = data.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    if account:
        _check_entry(account, data.parent)
        os.chown(partial, *account)
    _initdb(partial, binaries, account)
    partial.rename(data)


def _check_entry(account: Account, directory: Path) -> None:
    if not account.can_enter(directory):
        raise DatabaseError(
            f"{directory}: user {account.uid}, who runs PostgreSQL in place of root, cannot"
            " enter it; choose a directory that others can enter, such as one below /var/tmp"
        )


def _initdb(data: Path, binaries: Binaries, account: Account | None) -> None:
    program = str(binaries.path("initdb"))
    for locale in _LOCALES:
        done = subprocess.run(
            [
                *(program, "-D", str(data), "-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", f"--locale={locale}", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=environment(),
            **identity(account),
        )
        if done.returncode == 0:
            return
    raise DatabaseError(f"{program} could not make {data}: {done.stderr.strip()}")
