"""A real transaction pooler between us and PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.demo.account import account_for
from bridge.demo.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pooler(url: str, directory: Path) -> Iterator[str]:
    """pgbouncer in front of `url`, pooling transactions, as an unprivileged user."""
    shared = Path(tempfile.gettempdir())
    for place in (directory, *directory.parents):
        if shared in place.parents:
            place.chmod(0o755)
    parts = urlsplit(url)
    port = free_port()
    settings = directory / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port} user={parts.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\n"
    )
    account = account_for(None)
    process = subprocess.Popen(
        [str(PGBOUNCER), str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account and account.uid,
        group=account and account.gid,
        extra_groups=[] if account else None,
    )
    try:
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        process.wait(10)
