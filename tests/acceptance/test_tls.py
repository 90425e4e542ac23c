"""TLS on both sides: who can be checked is, and who does not check out is not talked to."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from bridge.config import TlsConfig
from bridge.demo.postgres import Postgres, find_binaries
from bridge.errors import BridgeError, DatabaseError
from bridge.gateways.tls import Certificate
from tests.support import PATIENCE
from tests.support import connect as sql_connect
from tests.support.bridges import configure, running
from tests.support.certificates import Authority
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bridge.config import Config

TABLE = "CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items VALUES (1, 0)"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(database: str, cert: Path, key: Path) -> Config:
    config = configure(database, "  items:\n")
    return replace(config, server=replace(config.server, tls=TlsConfig(str(cert), str(key))))


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.root))


async def served(port: int, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_port_speaks_tls_and_takes_new_certificates(
    database: str, admin: psycopg.Connection, authority: Authority, tmp_path: Path
) -> None:
    admin.execute(TABLE)
    files = authority.issue("127.0.0.1")
    async with running(secured(database, *files)) as bridge:
        _, port = bridge.address.result()
        url, trusted = f"wss://127.0.0.1:{port}/ws", trusting(authority)
        async with connect(url, ssl=trusted) as one:
            await one.send('{"type":"subscribe","topic":"items"}')
            assert [await one.recv() for _ in range(3)]
            first = await served(port, trusted)
            files[1].write_text("-----BEGIN nothing-----")
            authority.issue("127.0.0.1", name="new")
            for name, file in zip(("crt", "key"), files, strict=True):
                os.replace(tmp_path / f"new.{name}", file)  # noqa: PTH105
            async with asyncio.timeout(PATIENCE):
                while await served(port, trusted) == first:
                    await asyncio.sleep(0.05)
            await one.send('{"type":"ping"}')
            assert await one.recv() == '{"type":"pong"}'
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(url, ssl=trusting(Authority(tmp_path, "another"))):
                pass
        with pytest.raises((OSError, InvalidHandshake)):
            async with connect(url.replace("wss", "ws")):
                pass


def test_certificates_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("127.0.0.1")
    _, other = authority.issue("127.0.0.1", name="other")
    (tmp_path / "odd").write_text("nothing")
    for wrong in (
        ("/nowhere", str(key)),
        (str(cert), str(other)),
        (str(cert), str(tmp_path / "odd")),
    ):
        with pytest.raises(BridgeError, match=r"server\.tls: .*"):
            Certificate(TlsConfig(*map(str, wrong)))


def test_files_that_do_not_fit_are_left_alone(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue("127.0.0.1")
    certificate = Certificate(TlsConfig(str(cert), str(key)))
    right = key.read_bytes()
    key.write_bytes(authority.issue("127.0.0.1", name="other")[1].read_bytes())
    certificate.refresh()
    certificate.refresh()
    assert [record.message for record in caplog.records] == ["certificate not read"]
    key.write_bytes(right + b"\n")
    with caplog.at_level("INFO"):
        certificate.refresh()
    assert caplog.records[-1].message == "new certificate is served"


# To PostgreSQL


@pytest.fixture
def secure(authority: Authority) -> Iterator[Postgres]:
    """A server that speaks TLS, with a certificate for `localhost`; the wheel's cannot."""
    try:
        binaries = find_binaries("local")
    except DatabaseError as error:
        pytest.skip(str(error))
    with Postgres.start(binaries=binaries) as server:
        owner = server.data_directory.stat()
        for name, file in zip(("crt", "key"), authority.issue("localhost"), strict=True):
            place = server.data_directory / f"server.{name}"
            place.write_bytes(file.read_bytes())
            place.chmod(0o600)
            os.chown(place, owner.st_uid, owner.st_gid)
        with sql_connect(server.url()) as admin:
            admin.execute("ALTER SYSTEM SET ssl = on")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute(TABLE)
        yield server


def verified(server: Postgres, root: Path, host: str = "localhost") -> str:
    return (
        f"postgresql://postgres@{host}:{server.port}/postgres?hostaddr=127.0.0.1"
        f"&sslmode=verify-full&sslrootcert={quote(str(root), safe='')}"
    )


async def test_the_database_is_verified(secure: Postgres, authority: Authority) -> None:
    url = verified(secure, authority.root)
    async with (
        running(configure(url, "  items:\n")) as bridge,
        following(bridge.url, "items") as replica,
    ):
        with sql_connect(url) as admin:
            admin.execute("UPDATE items SET n = 1")
            await replica.equals({"items": rows(admin, "SELECT * FROM items")})
            found = admin.execute(
                "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity"
                " USING (pid) WHERE backend_type = 'client backend'"
            ).fetchone()
            assert found is not None
            assert found[0] >= 3
            assert found[1] is True


async def test_a_database_that_is_not_the_one_is_refused(
    secure: Postgres, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    for wrong in (verified(secure, stranger.root), verified(secure, authority.root, "db.example")):
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            sql_connect(wrong)
    with sql_connect(secure.url()) as admin:
        admin.execute("ALTER SYSTEM SET ssl = off")
        admin.execute("SELECT pg_reload_conf()")
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        _until_refused(verified(secure, authority.root))


def _until_refused(url: str) -> None:
    """The server takes a moment to read its settings."""
    while True:
        sql_connect(url).close()
