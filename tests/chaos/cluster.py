"""The server, or the standby that has taken its place. Everything here blocks.

A standby is a copy made by pg_basebackup, which follows through a port of ours, so that a
test may keep from it what the primary has committed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from bridge.demo.account import account_for, environment, identity
from bridge.demo.postgres import Postgres

if TYPE_CHECKING:
    from bridge.demo.postgres import Binaries

_SETTINGS = {"max_connections": "100"}
_STREAMS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


class Cluster:
    """`primary` is the server to be written to; start it on a thread that lives as long."""

    def __init__(self, binaries: Binaries) -> None:
        self._binaries = binaries
        self._directories: list[Path] = []
        self._standby: Postgres | None = None
        self.primary = Postgres.start(binaries=binaries, settings=_SETTINGS)

    def standby(self, port: int) -> Postgres:
        """Made, running, and connected to the primary, which it finds at `port`."""
        account = account_for(None)
        home = Path(tempfile.mkdtemp(prefix="rowcast-"))
        self._directories.append(home)
        if account:
            os.chown(home, *account)
        copy = ["-D", str(home / "data"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        subprocess.run(
            [self.primary.binary("pg_basebackup"), *copy, "-R", "--checkpoint=fast", "--no-sync"],
            check=True,
            cwd="/",
            env=environment(),
            **identity(account),
        )
        self._standby = standby = Postgres.start(home, binaries=self._binaries, settings=_SETTINGS)
        with psycopg.connect(self.primary.url(), autocommit=True) as session:
            while session.execute(_STREAMS).fetchone() == (0,):
                time.sleep(0.02)
        return standby

    def replace(self, standby: Postgres) -> None:
        """The primary has ended: the standby is the primary now."""
        with psycopg.connect(standby.url(), autocommit=True, connect_timeout=10) as session:
            session.execute("SELECT pg_promote()")
        self.primary.stop("immediate")
        self.primary, self._standby = standby, None

    def stop(self) -> None:
        for server in filter(None, [self.primary, self._standby]):
            server.stop("immediate")
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)
