"""The image without an engine: the Dockerfile's own steps in a plain Debian root, and what it runs.

    python -m tests.image [--base DIR] [--pg 15]

As root, on Linux, with debootstrap. Debian 13 with its Python 3.13 stands for `python:3.13-slim`,
which is made of it. Every RUN, COPY, ENV and USER is read from the Dockerfile and carried out in
a root of the stage's own; a step that this does not know ends it. Then, in a network of its own,
without rights and with the root read-only: `migrate`, the ENTRYPOINT with CMD, the HEALTHCHECK,
a row that is written and asked for, and SIGTERM. `--base` keeps Debian for the next time.
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

from bridge.demo.postgres import Postgres, find_binaries
from tests.image.container import Container
from tests.support import connect
from tests.support.dockerfile import Stage, Step, context, stages

ROOT = Path(__file__).parents[2]
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
BASE = "python:3.13-slim"
PASSED_ON = ("pip_", "http_proxy", "https_proxy", "no_proxy")

TABLE = (
    "CREATE TABLE orders (id int PRIMARY KEY, status text); INSERT INTO orders VALUES (1, 'new')"
)
CONFIG = "tables: {orders: {}}\nauth: none\n"


def main() -> None:
    arguments = _arguments()
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        sys.exit("this needs root and debootstrap (Debian: apt install debootstrap)")
    with tempfile.TemporaryDirectory(prefix="rowcast-image-") as work:
        base = debian(arguments.base or Path(work, "debian"))
        built = build(stages((ROOT / "Dockerfile").read_text()), base, Path(work))
        final, root = built[-1]
        tell(f"image: {size(root)} MB, {size(root) - size(base)} of them ours")
        with Postgres.start(binaries=find_binaries(arguments.pg)) as server:
            try_out(Container(final, root), server)
    print("1 passed, 0 failed")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.image")
    parser.add_argument("--base", type=Path, help="where Debian is, or is to be made")
    parser.add_argument("--pg", help="which PostgreSQL; as for ./dev test")
    return parser.parse_args()


def tell(line: str) -> None:
    print(line, flush=True)


def debian(place: Path) -> Path:
    """A root in which `python` and `pip` are what they are in the image that stands for it."""
    if not (place / "usr/local/bin/python").exists():
        tell(f"debootstrap trixie {place}")
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", place]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for marker in place.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        (place / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # Which authorities and names this machine knows.
    for known in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        if (there := Path("/", known)).exists():
            shutil.copyfile(there, place / known)
    return place


def build(found: list[Stage], base: Path, work: Path) -> list[tuple[Stage, Path]]:
    built: list[tuple[Stage, Path]] = []
    for number, stage in enumerate(found):
        assert stage.base == BASE, f"no stand-in for {stage.base}"
        root = work / f"stage{number}"
        subprocess.run(["cp", "-a", base, root], check=True)
        built.append((stage, root))
        Builder(stage, root, {earlier.name: place for earlier, place in built}).run()
    return built


class Builder:
    """Carries out one stage's steps, in order."""

    def __init__(self, stage: Stage, root: Path, earlier: dict[str, Path]) -> None:
        self._stage = stage
        self._root = root
        self._earlier = earlier
        self._directory = "/"
        self._environment = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin", "HOME": "/root"}
        ours = {n: v for n, v in os.environ.items() if n.lower().startswith(PASSED_ON)}
        self._environment |= ours | {"PIP_QUIET": "2"}

    def run(self) -> None:
        for step in self._stage.steps:
            tell(f"{self._stage.name or 'final'}: {step.name} {step.text}"[:110])
            getattr(self, f"_{step.name.lower()}")(step)

    def _workdir(self, step: Step) -> None:
        self._directory = step.text
        (self._root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _env(self, step: Step) -> None:
        new = Stage("", "", [step]).environment
        old = self._environment["PATH"]
        self._environment |= {name: value.replace("$PATH", old) for name, value in new.items()}

    def _run(self, step: Step) -> None:
        script = f"cd {self._directory} && {step.text}"
        command = ["chroot", self._root, "/bin/sh", "-c", script]
        subprocess.run(command, check=True, env=self._environment)

    def _copy(self, step: Step) -> None:
        words = step.text.split()
        if words[0].startswith("--from="):
            source, target = words[1:]
            there = self._earlier[words[0].removeprefix("--from=")] / source.lstrip("/")
            subprocess.run(["cp", "-a", there, self._root / target.lstrip("/")], check=True)
        else:
            assert words == [".", "."], step.text
            self._copy_context()

    def _copy_context(self) -> None:
        command = ["git", "-c", "safe.directory=*", "ls-files"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for file in context((ROOT / ".dockerignore").read_text(), listed.stdout.splitlines()):
            target = self._root / self._directory.lstrip("/") / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, target)

    def _said(self, step: Step) -> None:
        """What counts when the image runs, and changes nothing as it is built."""

    _user = _expose = _healthcheck = _entrypoint = _cmd = _said


def size(root: Path) -> int:
    """Megabytes."""
    done = subprocess.run(["du", "-sm", root], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def try_out(container: Container, server: Postgres) -> None:
    with connect(server.url()) as session:
        session.execute(TABLE.encode())
        container.prepare(CONFIG, server.socket_url())
        tell(container.once("migrate", "--plan").splitlines()[0])
        container.once("migrate")
        refused = container.once("migrate", "--sql", program=("touch", "/opt/rowcast/x"), status=1)
        assert "Read-only file system" in refused, refused
        with container.serving() as running:
            tell(f"healthy after {running.until_healthy():.1f} s")
            running.until_ready()
            session.execute("UPDATE orders SET status = 'paid'")
            assert '"status": "paid"' in running.get("/state/orders").replace('":"', '": "')
            began = time.monotonic()
            assert running.stop() == 0
            tell(f"stopped in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
