"""A program that is started many times, without waiting for its imports each time.

    python -m tests.support.warm PROGRAM        (a file with a `main()`)

A line of arguments on stdin, as JSON, forks a child that runs it; its pid is the answer.
The child is a process of its own, to be killed as any other.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]


class Program:
    """Starts children of one program; their pids are for whoever ends them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._turn = Lock()

    async def start(self, *arguments: str) -> int:
        return await asyncio.to_thread(self._start, arguments)

    def _start(self, arguments: Sequence[str]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(arguments) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@contextmanager
def warm(program: str) -> Iterator[Program]:
    """`program` is a path below the repository's top. Its children end with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Program(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@cache
def kept(program: str) -> Program:
    """The same until this process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(warm(program))


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(path: str) -> None:
    module = load(path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            sys.argv = [path, *json.loads(line)]
            module.main()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
