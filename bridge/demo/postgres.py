"""A PostgreSQL server of our own, for the demo and the tests.

The rules. It listens on 127.0.0.1 and a Unix socket, trusts whoever reaches them,
and so is for nobody else's machine. It is our direct child, and it does not outlive
us. It is ready when `postmaster.pid` says so *in our child's name*: after a crash
the old file still says "ready". It is gone when no process of it is left, not when
its first process is: a server's backends outlive a killed postmaster for a moment.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from bridge.demo.account import account_for, die_with_parent, environment, identity
from bridge.demo.binaries import Binaries, copy, find_binaries
from bridge.demo.initdb import ensure_data
from bridge.demo.ports import free_port
from bridge.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.demo.account import Account

__all__ = ["Binaries", "Postgres", "find_binaries"]

# Commits survive a killed server, not a power failure. Without full_page_writes a server may not
# come up again where a transaction that made or truncated a table was rolled back before.
_FAST = {"fsync": "off"}
_FIXED = {"listen_addresses": "127.0.0.1", "lc_messages": "C", "logging_collector": "off"}
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Refusals that pass: the port went to somebody else between our look and the
# server's; or a server that was killed has not been cleared away yet.
_PORT_TAKEN = "could not bind"
_DYING = ('postmaster.pid" already exists', "is still in use")

_START_TIMEOUT = 60.0  # a crash recovery included
_DYING_TIMEOUT = 5.0
_STOP_TIMEOUT = 30.0
_POLL = 0.01


class Postgres:
    """A running server. A context manager; leaving it stops the server.

    Without a `directory` the data is temporary and removed by `stop`. With one, data
    and log are kept in it, as `data/` and `postgres.log`, and used again by the next
    start. Start it on a thread that lives as long as the server should: Linux ends a
    child whose parent's *thread* ended.
    """

    def __init__(
        self,
        directory: Path | None,
        binaries: Binaries,
        settings: Mapping[str, str],
    ) -> None:
        self._account = account_for(directory and directory / "data")
        self._runtime = _runtime_directory(self._account)
        home = directory.absolute() if directory else self._runtime
        self.data_directory = home / "data"
        self.log_path = home / "postgres.log"
        self.port = 0
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = -1
        self._binaries = binaries

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        binaries: Binaries | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
    ) -> Self:
        """Start a server, on new data or what `directory` holds; returns when it is ready.

        `settings` are PostgreSQL's own. `durable` keeps data through a power failure; the
        default does not, and is several times faster. Raises `DatabaseError`.
        """
        everything = {**({} if durable else _FAST), **(settings or {}), **_FIXED}
        server = cls(directory, binaries or find_binaries(), everything)
        try:
            server._prepare()
            server._launch()
        except OSError as error:
            server.stop("immediate")
            raise DatabaseError(f"cannot start {server._binaries}: {error}") from error
        except BaseException:
            server.stop("immediate")
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """Such as `18.4`."""
        return self._binaries.version

    @property
    def pid(self) -> int:
        """The postmaster's; raises `DatabaseError` where the server is not running."""
        if self._process is None:
            raise DatabaseError(f"{self.data_directory}: this server is not running; restart() it")
        return self._process.pid

    def binary(self, name: str) -> Path:
        """A program of the same installation, such as `pgbench`."""
        return self._binaries.path(name)

    def url(self, database: str = "postgres") -> str:
        """A connection URL over TCP, as the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def socket_url(self, database: str = "postgres") -> str:
        """A connection URL over the Unix socket, as the superuser."""
        host = quote(str(self._runtime), safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={self.port}"

    def stop(self, mode: str = "fast") -> None:
        """Shut down (`smart`, `fast` or `immediate`) and remove what is temporary."""
        self._signal(_SIGNALS[mode])
        shutil.rmtree(self._runtime, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL the postmaster and wait until its backends have noticed; data stays."""
        self._signal(signal.SIGKILL)

    def restart(self, mode: str = "fast") -> None:
        """Shut down if running, and start again: same data, same port."""
        self._signal(_SIGNALS[mode])
        self._launch()

    # Start

    def _prepare(self) -> None:
        if self._account and not self._account.can_enter(self._binaries.directory):
            self._binaries = copy(self._binaries, self._runtime)
        ensure_data(self.data_directory, self._binaries, self._account)

    def _launch(self) -> None:
        """Start, and start again while the refusal is one that passes."""
        deadline = time.monotonic() + _DYING_TIMEOUT
        port = self.port
        while (refusal := self._attempt(port or free_port())) is not None:
            taken = _PORT_TAKEN in refusal
            dying = any(text in refusal for text in _DYING)
            if not (taken or dying) or time.monotonic() > deadline:
                raise DatabaseError(
                    f"{self._binaries} did not start on {self.data_directory}: {refusal}"
                )
            time.sleep(_POLL)

    def _attempt(self, port: int) -> str | None:
        """One start; returns what the server said if it ended, None once it is ready."""
        self.port = port
        with self.log_path.open("ab") as log:
            before = log.tell()
            self._process = self._spawn(log.fileno())
        if self._wait_ready(self._process):
            return None
        self._signal(signal.SIGKILL)
        return self._refusal(before)

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        settings = {**self._settings, "unix_socket_directories": str(self._runtime)}
        command = [str(self.binary("postgres")), "-D", str(self.data_directory)]
        command += ["-p", str(self.port)]
        command += [part for name in settings for part in ("-c", f"{name}={settings[name]}")]
        with self._pipe() as inherited:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[inherited],
                start_new_session=True,  # Ctrl-C is for us: we stop first, and it after us
                preexec_fn=die_with_parent(),
                cwd="/",
                env=environment(),
                **identity(self._account),
            )

    @contextmanager
    def _pipe(self) -> Iterator[int]:
        """A pipe for the server to inherit; its other end is ours in `_gone`."""
        self._gone, inherited = os.pipe()
        try:
            yield inherited
        except BaseException:
            os.close(self._gone)
            raise
        finally:
            os.close(inherited)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if self._is_ready(process.pid):
                return True
            time.sleep(_POLL)
        return False

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _refusal(self, before: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(before)
            said = log.read().decode(errors="replace").strip()
        return said or f"nothing in its log, and not ready after {_START_TIMEOUT:.0f} s"

    # End

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal and wait until the server's last process is gone."""
        if (process := self._process) is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Every process of the server inherited the pipe's other end: when the last
        # one is gone, it reads as ended.
        select.select([self._gone], [], [], _STOP_TIMEOUT)
        os.close(self._gone)
        self._process = None


def _runtime_directory(account: Account | None) -> Path:
    """A private directory for sockets and temporary data.

    A socket's path must stay below 100 bytes or so, hence not below just any TMPDIR.
    """
    usual = Path(tempfile.gettempdir())
    fits = len(bytes(usual)) <= 60 and (account is None or account.can_enter(usual))
    directory = Path(tempfile.mkdtemp(prefix="rowcast-", dir=usual if fits else "/tmp"))
    if account:
        os.chown(directory, *account)
    return directory
