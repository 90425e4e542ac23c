"""PostgreSQL and the bridge, each as a process of its own, as a user runs them."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bench import processes
from bench.processes import started
from bridge import config, migrate
from bridge.demo.postgres import Postgres, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.processes import Process

_SETTINGS = {"max_connections": "200", "autovacuum": "off", "jit": "off"}

_METRIC = re.compile(r"^rowcast_(\w+?)(?:_total)?(?:\{[^}]*\})? ([\d.e+-]+)$", re.MULTILINE)


class Database(Postgres):
    """A server of ours."""

    def cpu(self) -> float:
        return processes.cpu(self.pid)

    def said(self, application: str) -> int:
        """Statements of sessions by this name so far, where `statements` made it log them."""
        pattern = re.compile(
            rf"^{re.escape(application)}[^|]*\|LOG:  (?:statement|execute)", re.MULTILINE
        )
        return len(pattern.findall(self.log_path.read_text("utf-8", "replace")))


@contextmanager
def postgres(
    pg: str | None, *, durable: bool = False, statements: bool = False
) -> Iterator[Database]:
    """`durable` has commits wait for the disk; `statements` logs each, for `said`."""
    settings = dict(_SETTINGS)
    if statements:
        settings |= {"log_statement": "all", "log_line_prefix": "%a|"}
    with Database.start(binaries=find_binaries(pg), settings=settings, durable=durable) as server:
        yield server


def connect(url: str) -> psycopg.Connection[Any]:
    """A session in autocommit mode, as an application has one."""
    return psycopg.connect(url, autocommit=True, application_name="application")


def fresh(server: Database, name: str, script: str) -> str:
    """A database with what `script` makes in it; its URL."""
    with connect(server.url()) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with connect(server.url(name)) as connection:
        connection.execute(script.encode())
    return server.url(name)


@dataclass(frozen=True)
class Bridge:
    """One that is ready."""

    process: Process
    http: str

    @property
    def socket(self) -> str:
        return self.http.replace("http", "ws", 1) + "/ws"

    def metrics(self) -> dict[str, float]:
        """By name, without `rowcast_` and `_total`."""
        with urllib.request.urlopen(f"{self.http}/metrics") as answer:
            return {name: float(value) for name, value in _METRIC.findall(answer.read().decode())}


@contextmanager
def bridge(url: str, tables: str, **top: str) -> Iterator[Bridge]:
    """`rowcast migrate` and `rowcast serve` with these tables (YAML, indented by two)."""
    with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".yaml") as file:
        extra = "".join(f"{name}: {value}\n" for name, value in top.items())
        file.write(f"database: {url}\n{extra}tables:\n{tables}\n")
        file.flush()
        migrate.apply(config.load(Path(file.name)), progress=lambda _: None)
        with serving(file.name) as ready:
            yield ready


@contextmanager
def serving(path: str) -> Iterator[Bridge]:
    command = [sys.executable, "-m", "bridge", "serve", "-c", path, "--port", "0"]
    with started(command) as process:
        http = process.says(r"serving on (\S+)")[1]
        until_ready(http)
        yield Bridge(process, http)


def until_ready(http: str, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not _ready(http):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{http}: not ready after {patience:g} s")
        time.sleep(0.005)


def _ready(http: str) -> bool:
    try:
        with urllib.request.urlopen(f"{http}/readyz") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def subscribe(topic: str) -> str:
    return json.dumps({"type": "subscribe", "topic": topic})
