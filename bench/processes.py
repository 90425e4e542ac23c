"""Programs in processes of their own, and what they have used: Linux says so in /proc."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.demo.account import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]

_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):  # noqa: N818
    """A program ended, or said nothing in time; with the end of what it wrote to stderr."""


class Process:
    """Made by `started`. `says` waits for a line of its stdout."""

    def __init__(self, popen: subprocess.Popen[bytes], errors: Path) -> None:
        self._popen = popen
        self._errors = errors
        self._rest = b""
        self.pid = popen.pid

    def says(self, pattern: str, patience: float = 60.0) -> re.Match[str]:
        """The next line that matches; raises Failed after `patience` seconds or at its end."""
        deadline = time.monotonic() + patience
        while True:
            if found := re.search(pattern, self._line(deadline)):
                return found

    def tell(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n".encode())
        self._popen.stdin.flush()

    def cpu(self) -> float:
        """Seconds of processor time, user's and system's, of it and its children."""
        return cpu(self.pid)

    def memory(self) -> int:
        """Bytes resident, of it and its children; pages that they share count once."""
        return sum(_memory(pid) for pid in _family(self.pid))

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def end(self, patience: float = 10.0) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(patience)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _line(self, deadline: float) -> str:
        assert self._popen.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise Failed(f"{self._popen.args}: nothing heard in time; {self._said()}")
                if not (read := os.read(self._popen.stdout.fileno(), 65536)):
                    raise Failed(f"{self._popen.args}: ended; {self._said()}")
                self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def _said(self) -> str:
        return self._errors.read_text("utf-8", "replace")[-2000:].strip() or "it said nothing"


@contextmanager
def started(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a program until the end of the block, and not longer than this process lives."""
    with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".log") as errors:
        popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent(),
        )
        process = Process(popen, Path(errors.name))
        try:
            yield process
        finally:
            process.end()


@contextmanager
def python(module: str, *arguments: str) -> Iterator[Process]:
    """A module of this package, as a program."""
    with started([sys.executable, "-m", module, *arguments]) as process:
        yield process


def cpu(pid: int) -> float:
    """Seconds of processor time, user's and system's, of a process and its children."""
    return sum(_cpu(one) for one in _family(pid))


def _family(pid: int) -> list[int]:
    children = _read_if_there(f"/proc/{pid}/task/{pid}/children").split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _cpu(pid: int) -> float:
    fields = _read_if_there(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _read_if_there(path: str) -> str:
    """Nothing of a process that ended since it was listed, as PostgreSQL's workers do."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(path).read_text()
    return ""


def _memory(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _read(path: str) -> str:
    return Path(path).read_text()


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    model = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return {
        "processors": os.cpu_count(),
        "model": model[1] if model else "unknown",
        "load": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
    }
