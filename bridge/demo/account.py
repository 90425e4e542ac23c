"""Whom PostgreSQL runs as, and how its programs are started.

PostgreSQL refuses to run as root, so root hands it to an unprivileged account that
needs nothing but to enter the directories it is given.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PR_SET_PDEATHSIG = 1


class Account(NamedTuple):
    """A user and its group, by id."""

    uid: int
    gid: int

    def can_enter(self, directory: Path) -> bool:
        """Whether the permission bits let this account through to a directory."""
        resolved = directory.resolve()
        return all(self._passes(path.stat()) for path in (resolved, *resolved.parents))

    def _passes(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


class Identity(TypedDict):
    """What `subprocess` is told; with None, a child runs as we do."""

    user: int | None
    group: int | None
    extra_groups: list[str | int] | None


def account_for(data: Path | None) -> Account | None:
    """As root, kept data decides: its owner can then use it again. None: ourselves."""
    account = _unprivileged()
    if account and data and data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    return account


def identity(account: Account | None) -> Identity:
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Ours, without what would turn the server's programs elsewhere; messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def die_with_parent() -> Callable[[], None] | None:
    """For a child, between fork and exec: SIGINT, a fast shutdown, when its parent is gone.

    Only Linux has this. It comes after the change of user, which would undo it.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # gone before we asked
            os._exit(1)

    return ask


def _unprivileged() -> Account | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise DatabaseError(
        "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it"
        " as; add one, or run this as an ordinary user"
    )
