"""The embedded server: how it starts, what it survives, and that it leaves nothing behind."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge.demo import binaries as binaries_module
from bridge.demo.account import Account, account_for
from bridge.demo.binaries import Binaries, copy, find_binaries
from bridge.demo.ports import free_port
from bridge.demo.postgres import Postgres
from bridge.errors import DatabaseError
from tests.support import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

# Forked, not executed: an ordinary user may not be able to enter our Python's directory.
fork = get_context("fork")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that anybody may enter: pytest's own are private."""
    path = Path(tempfile.mkdtemp(prefix="rowcast-test-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@dataclass(frozen=True)
class Child:
    """A process of its own that holds a server, until told to stop it."""

    process: BaseProcess
    pipe: Connection
    pid: int
    url: str

    def stop(self) -> int | None:
        self.pipe.send("stop")
        self.process.join()
        return self.process.exitcode


@pytest.fixture
def child(directory: Path, binaries: Binaries) -> Iterator[Callable[..., Child]]:
    """Starts a `Child`; whatever became of it, it has ended when the test has."""
    with ExitStack() as stack:

        def start(account: Account | None = None) -> Child:
            ours, theirs = fork.Pipe()
            process = fork.Process(target=hold, args=(directory, binaries, account, theirs))
            process.start()
            theirs.close()
            stack.callback(ours.close)
            stack.callback(process.join)
            stack.callback(process.kill)
            return Child(process, ours, *ours.recv())

        yield start


def hold(directory: Path, binaries: Binaries, account: Account | None, pipe: Connection) -> None:
    tempfile.tempdir = str(directory)  # what a killed process leaves, the test removes
    if account:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
    with Postgres.start(directory, binaries=binaries) as server:
        pipe.send((server.pid, server.url()))
        pipe.recv()


def fetch(url: str, query: str) -> object:
    with connect(url) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def open_files(pid: int) -> list[Path]:
    """None for a process that has ended, even while it is listed as a zombie."""
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, PermissionError):
        return []


def test_answers_over_tcp_and_over_its_socket(postgres: Postgres) -> None:
    assert fetch(postgres.url(), "SELECT inet_server_port()") == postgres.port
    assert fetch(postgres.socket_url(), "SELECT inet_server_port()") is None
    assert fetch(postgres.url(), "SHOW server_version") == fetch(
        postgres.socket_url(), "SHOW server_version"
    )


def test_version_is_what_the_server_says(postgres: Postgres) -> None:
    assert str(fetch(postgres.url(), "SHOW server_version")).startswith(postgres.version)


def test_listens_nowhere_but_on_loopback(postgres: Postgres) -> None:
    assert fetch(postgres.url(), "SHOW listen_addresses") == "127.0.0.1"


def test_is_utf8_whatever_the_environment(
    binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.ISO-8859-1")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with Postgres.start(binaries=binaries) as server:
        assert fetch(server.url(), "SHOW server_encoding") == "UTF8"


def test_settings_reach_the_server(binaries: Binaries) -> None:
    with Postgres.start(binaries=binaries, settings={"max_connections": "17"}) as server:
        assert fetch(server.url(), "SHOW max_connections") == "17"


def test_durable_keeps_fsync(binaries: Binaries) -> None:
    with Postgres.start(binaries=binaries, durable=True) as server:
        assert fetch(server.url(), "SHOW fsync") == "on"


def test_a_setting_it_refuses_is_an_error_with_its_words(binaries: Binaries) -> None:
    with pytest.raises(DatabaseError, match="work_mem"):
        Postgres.start(binaries=binaries, settings={"work_mem": "much"})


def test_temporary_data_is_gone_after_stop(binaries: Binaries) -> None:
    with Postgres.start(binaries=binaries) as server:
        assert server.data_directory.exists()
    assert not server.data_directory.exists()
    with pytest.raises(psycopg.OperationalError):
        connect(server.url())


def test_stop_twice_is_no_error(binaries: Binaries) -> None:
    server = Postgres.start(binaries=binaries)
    server.stop("immediate")
    server.stop()


def test_pid_of_a_stopped_server_is_an_error(postgres: Postgres) -> None:
    postgres.kill()
    with pytest.raises(DatabaseError, match="not running"):
        _ = postgres.pid


def test_kept_data_is_used_again(directory: Path, binaries: Binaries) -> None:
    with Postgres.start(directory, binaries=binaries) as server, connect(server.url()) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with Postgres.start(directory, binaries=binaries) as server:
        assert fetch(server.url(), "SELECT answer FROM kept") == 42


def test_data_of_another_version_is_refused(directory: Path, binaries: Binaries) -> None:
    (directory / "data").mkdir()
    (directory / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseError, match="made by PostgreSQL 9, but this is PostgreSQL"):
        Postgres.start(directory, binaries=binaries)


def test_an_interrupted_initdb_does_not_count(directory: Path, binaries: Binaries) -> None:
    (directory / "data.partial").mkdir()
    (directory / "data.partial" / "PG_VERSION").touch()
    with Postgres.start(directory, binaries=binaries) as server:
        assert fetch(server.url(), "SELECT 1") == 1


def test_restart_keeps_the_port_and_what_was_committed(postgres: Postgres) -> None:
    with connect(postgres.url()) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    before = postgres.url()
    postgres.restart()
    assert postgres.url() == before
    assert fetch(before, "SELECT answer FROM kept") == 42


def test_starts_over_the_lock_a_killed_server_left(postgres: Postgres) -> None:
    with connect(postgres.url()) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        postgres.kill()
        stale = (postgres.data_directory / "postmaster.pid").read_text().splitlines()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert stale[7].strip() == "ready"
    assert not postgres._is_ready(int(stale[0]) + 1), "ready, but in another's name"
    postgres.restart()
    assert postgres.pid != int(stale[0])
    assert fetch(postgres.url(), "SELECT answer FROM kept") == 42


@on_linux
def test_kill_waits_for_the_backends(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(postgres.url()) as session:
        backend = session.info.backend_pid
        assert open_files(backend)
        os.kill(backend, signal.SIGSTOP)  # it cannot notice anything, until it is waited for

        def wait(*arguments: object) -> object:
            os.kill(backend, signal.SIGCONT)
            return select.select(*arguments)

        monkeypatch.setattr("bridge.demo.postgres.select", SimpleNamespace(select=wait))
        postgres.kill()
        assert not open_files(backend)


def test_a_port_that_was_taken_meanwhile_is_passed_over(
    binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = iter([other.getsockname()[1], free := free_port()])
        monkeypatch.setattr("bridge.demo.postgres.free_port", lambda: next(ports))
        with Postgres.start(binaries=binaries) as server:
            assert server.port == free


def test_a_second_server_on_the_same_data_is_refused(
    directory: Path, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.demo.postgres._DYING_TIMEOUT", 0.1)
    with (
        Postgres.start(directory, binaries=binaries),
        pytest.raises(DatabaseError, match="Is another postmaster"),
    ):
        Postgres.start(directory, binaries=binaries)


@on_linux
def test_the_server_goes_when_its_parent_is_killed(
    child: Callable[..., Child], directory: Path, binaries: Binaries
) -> None:
    parent = child()
    with connect(parent.url) as session:
        parent.process.kill()
        with pytest.raises(psycopg.errors.AdminShutdown):
            session.execute("SELECT pg_sleep(100)")
    Postgres.start(directory, binaries=binaries).stop()  # waits for the old one, or fails


@as_root
def test_as_root_it_runs_as_somebody_else(postgres: Postgres) -> None:
    assert postgres.data_directory.stat().st_uid != 0
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


@as_root
def test_as_an_ordinary_user_it_runs_as_that_user(
    child: Callable[..., Child], directory: Path, binaries: Binaries
) -> None:
    entry = pwd.getpwnam("nobody")
    nobody = Account(entry.pw_uid, entry.pw_gid)
    if not nobody.can_enter(binaries.directory):
        pytest.skip("nobody cannot enter the binaries' directory")
    parent = child(nobody)
    assert fetch(parent.url, "SELECT 1") == 1
    assert (directory / "data").stat().st_uid == nobody.uid
    assert parent.stop() == 0
    assert account_for(directory / "data") == nobody, "root hands it to the same user again"


@as_root
def test_as_root_binaries_in_a_private_directory_are_copied(
    tmp_path: Path, binaries: Binaries
) -> None:
    if binaries.source != "wheel":
        pytest.skip("only a wheel's installation can be moved")
    hidden = copy(binaries, tmp_path)
    tmp_path.chmod(0o700)
    with Postgres.start(binaries=hidden) as server:
        assert fetch(server.url(), "SELECT 1") == 1
        assert not server.binary("psql").is_relative_to(tmp_path)


@as_root
def test_as_root_a_private_directory_for_data_is_refused(
    tmp_path: Path, binaries: Binaries
) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(DatabaseError, match="cannot enter it"):
        Postgres.start(tmp_path, binaries=binaries)


def test_a_long_tmpdir_does_not_make_a_long_socket_path(
    binaries: Binaries, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    long = directory / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with Postgres.start(binaries=binaries) as server:
        assert fetch(server.socket_url(), "SELECT 1") == 1


def test_nothing_found_says_where_it_looked_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries_module, "_installations", lambda: iter(()))
    with pytest.raises(DatabaseError, match=r"ROWCAST_PG_BIN.*pip install 'rowcast\[demo\]'"):
        find_binaries()


def test_a_version_nobody_has_is_named() -> None:
    with pytest.raises(DatabaseError, match=r"asked for: 7"):
        find_binaries("7")


def test_the_environment_comes_first(binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries_module.VARIABLE, str(binaries.directory))
    assert find_binaries().source == binaries_module.VARIABLE


def test_an_environment_without_binaries_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(binaries_module.VARIABLE, str(tmp_path))
    with pytest.raises(DatabaseError, match=str(tmp_path)):
        find_binaries()


def test_binaries_that_do_not_run_do_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv(binaries_module.VARIABLE, str(tmp_path))
    with pytest.raises(DatabaseError, match="that run"):
        find_binaries()


def test_a_program_the_installation_lacks_is_named(binaries: Binaries) -> None:
    with pytest.raises(DatabaseError, match="pg_nothing"):
        binaries.path("pg_nothing")
