"""An image's root as a container: read-only, a network of its own, and no rights."""

from __future__ import annotations

import shlex
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.support.dockerfile import health_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.dockerfile import Stage

PATIENCE = 120.0

# What an engine does before it starts the program; the mounts are seen by it alone.
ENTER = """
set -e
mount --make-rprivate /
mount --bind {root} {root}
mount --bind -o ro {config} {root}/etc/rowcast
mount --bind {sockets} {root}{sockets}
mount -o remount,bind,ro {root}
ip link set lo up
exec chroot --userspec={user} --groups= {root} {program}
"""

ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


class Container:
    """`prepare` it, then run programs in it."""

    def __init__(self, image: Stage, root: Path) -> None:
        self._image = image
        self._root = root
        self._user = image.last("USER").text
        self._environment: dict[str, str] = {}
        self._config = root.with_name("config")
        self._sockets = ""

    def prepare(self, config: str, database: str) -> None:
        """Lay the config out, and open the way to the database's sockets."""
        self._sockets = parse_qs(urlsplit(database).query)["host"][0]
        Path(self._sockets).chmod(0o711)
        self._config.mkdir()
        (self._config / "config.yaml").write_text(config)
        for inside in ("/etc/rowcast", self._sockets):
            (self._root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
        path = self._image.environment["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        self._environment = {**self._image.environment, "PATH": path, "DATABASE_URL": database}

    def once(self, *arguments: str, program: Sequence[str] | None = None, status: int = 0) -> str:
        """Run to the end; what it printed, errors too."""
        words = program or (*self._image.last("ENTRYPOINT").words, *arguments)
        done = subprocess.run(
            self._command(words), env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[Running]:
        words = [*self._image.last("ENTRYPOINT").words, *self._image.last("CMD").words]
        process = subprocess.Popen(self._command(words), env=self._environment)
        try:
            yield Running(process, self._inside(process.pid), health_command(self._image))
        finally:
            process.kill()
            process.wait()

    def _command(self, words: Sequence[str]) -> list[str]:
        script = ENTER.format(
            root=self._root,
            config=self._config,
            sockets=self._sockets,
            user=self._user,
            program=shlex.join(words),
        )
        return [
            "/usr/bin/unshare",
            "--mount",
            "--net",
            "/bin/sh",
            "-c",
            f"PATH=/usr/sbin:$PATH{script}",
        ]

    def _inside(self, pid: int) -> list[str]:
        enter = ["/usr/bin/nsenter", f"--target={pid}", "--mount", "--net", "/usr/sbin/chroot"]
        path = f"PATH={self._environment['PATH']}"
        return [*enter, f"--userspec={self._user}", str(self._root), "/usr/bin/env", path]


class Running:
    """What serves, and what an engine or a user asks of it."""

    def __init__(
        self, process: subprocess.Popen[bytes], inside: list[str], health: list[str]
    ) -> None:
        self._process = process
        self._inside = inside
        self._health = health

    def until_healthy(self) -> float:
        """Seconds until the HEALTHCHECK passed."""
        began = time.monotonic()
        self._until(self._health)
        return time.monotonic() - began

    def until_ready(self) -> None:
        self._until(["python", "-c", ASK, "http://127.0.0.1:8765/readyz"])

    def get(self, path: str) -> str:
        command = [*self._inside, "python", "-c", ASK, f"http://127.0.0.1:8765{path}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def _until(self, command: list[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run([*self._inside, *command], capture_output=True, text=True)
            if done.returncode == 0:
                return
            assert self._process.poll() is None, "it ended"
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.2)
