"""Canaries: secrets through a run of the real command, and not one of them where people look.

A bridge is configured with secrets of every kind, used with tokens in every way, good and
bad, loses its database, is asked for all that it shows, and fails to start in every way
that a secret can be wrong. Then everything that it wrote and answered is searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from psycopg import sql
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support import PATIENCE, http
from tests.support import connect as sql_connect
from tests.support.commands import Rowcast
from tests.support.tokens import token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Done

PASSWORD = "canary-password-5f2a"
SECRET = "canary-hmac-secret-of-thirty-two-bytes-or-more"
OTHER = "canary-of-another-issuer-of-thirty-two-bytes"
CONFIG = """
database: ${file:url.txt}
auth:
  jwt: {secret: "${CANARY_SECRET}"}
  allow: [{topic: "items/**", when: {canary_claim: canary-claim-value}}]
server: {inspector: true}
tables:
  items: {columns: all}
"""


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role with a password, as a URL; it owns what it needs."""
    name = f"canary_{uuid4().hex[:8]}"
    identifier = sql.Identifier(name)
    with sql_connect(database) as admin:
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        admin.execute(create.format(identifier, sql.Literal(PASSWORD)))
        place = sql.Identifier(urlsplit(database).path[1:])
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(place, identifier))
        admin.execute(
            "CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items VALUES (1)"
        )
        admin.execute(sql.SQL("ALTER TABLE items OWNER TO {}").format(identifier))
        try:
            url = urlsplit(database)
            yield url._replace(netloc=f"{name}:{PASSWORD}@{url.hostname}:{url.port}").geturl()
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(identifier))
            admin.execute(sql.SQL("DROP ROLE {}").format(identifier))


class Written:
    """All that could be seen, and what must not be there."""

    def __init__(self, *secrets: str) -> None:
        self.texts: list[bytes] = []
        self._secrets = [secret for given in secrets for secret in _spelled(given)]

    def add(self, *texts: str | bytes) -> None:
        self.texts += [text.encode() if isinstance(text, str) else text for text in texts]

    def found(self) -> list[bytes]:
        everything = b"\n".join(self.texts)
        return [secret for secret in self._secrets if secret in everything]


def _spelled(secret: str) -> list[bytes]:
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-2]]


async def use(address: str, tokens: list[str], written: Written) -> None:
    """Everything that answers, with every token in every way."""
    ws = address.replace("http", "ws") + "/ws"
    for text in tokens:
        for path in (
            "/",
            "/inspector/topics",
            "/readyz",
            "/metrics",
            "/state/items",
            "/sse?topic=x",
        ):
            bearer = {"Authorization": f"Bearer {text}"}
            joint = "&" if "?" in path else "?"
            for answer in (
                await http.get(address, path, **bearer),
                await http.get(address, f"{path}{joint}token={text}"),
            ):
                written.add(str(answer.headers), answer.body)
        for url, options in (
            (f"{ws}?token={text}", {}),
            (ws, {"subprotocols": ["rowcast", f"bearer.{text}"]}),
        ):
            with suppress(ConnectionClosed, InvalidStatus):
                written.add("")
                async with connect(url, **options) as one:
                    await one.send(json.dumps({"type": "auth", "token": text}))
                    await one.send(json.dumps({"type": "subscribe", "topic": "items"}))
                    await one.send(json.dumps({"type": "auth", "token": [text]}))
                    await one.send(json.dumps({"type": "ping"}))
                    while b"pong" not in written.texts[-1]:
                        written.add(await asyncio.wait_for(one.recv(), PATIENCE))


async def test_no_secret_is_written_anywhere(database: str, role: str, tmp_path: Path) -> None:
    good = token(SECRET, canary_claim="canary-claim-value", sub="canary-user")
    bad = token(OTHER, canary_claim="canary-claim-value")
    expired = token(SECRET, exp=1, canary_claim="canary-claim-value")
    tokens = [good, bad, expired]
    written = Written(PASSWORD, SECRET, OTHER, *tokens, *(t.rpartition(".")[2] for t in tokens))
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "url.txt").write_text(role + "\n")
    rowcast = Rowcast(tmp_path, "")
    rowcast.environment["CANARY_SECRET"] = SECRET
    for command in (["migrate", "--plan"], ["migrate"], ["check"]):
        _note(written, await rowcast.run(*command))
    async with rowcast.serving("--log-level", "debug") as serving:
        await use(serving.address, tokens, written)
        written.add(*title(serving.process.pid))
        with sql_connect(database) as admin:
            user = urlsplit(role).username
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [user]
            )
            for name, query in admin.execute(
                "SELECT application_name, query FROM pg_stat_activity WHERE usename = %s", [user]
            ).fetchall():
                written.add(name, query)
            admin.execute("ALTER TABLE items RENAME COLUMN id TO canary")
            admin.execute("UPDATE items SET n = 7")
            await http.until(serving.address, "/readyz", ready=False)
            await use(serving.address, tokens, written)
        serving.process.terminate()
        out, err = await serving.process.communicate()
        written.add(out, err)
    assert serving.process.returncode == 0
    assert len(err.splitlines()) >= 1, "it was searched for something"
    await fail_to_start(rowcast, role, written)
    assert written.found() == []
    assert len(b"".join(written.texts)) > 10_000


async def fail_to_start(rowcast: Rowcast, role: str, written: Written) -> None:
    config, url = rowcast.directory / "config.yaml", rowcast.directory / "url.txt"
    for wrong in (role + "?canary=1", role.replace("postgresql", "mysql"), PASSWORD):
        url.write_text(wrong)
        for command in ("check", "serve", "migrate"):
            done = await rowcast.run(command)
            assert done.status != 0
            _note(written, done)
    for jwt in (
        '{secret: "${CANARY_SECRET}", public_key: "${CANARY_SECRET}"}',
        '{public_key: "${CANARY_SECRET}"}',
        '{jwks_url: "${CANARY_SECRET}"}',
        '{secret: "${CANARY_SECRET}", algorithms: ["${CANARY_SECRET}"]}',
        f"{{secret: '-----BEGIN {SECRET}'}}",
        f"{{secret: {SECRET[:20]}, leeway: 99h}}",
    ):
        config.write_text(CONFIG.replace('{secret: "${CANARY_SECRET}"}', jwt))
        done = await rowcast.run("serve")
        assert done.status == 2
        _note(written, done)


def title(pid: int) -> list[bytes]:
    """What other users of the machine see of a process, where there is such a place."""
    place = Path(f"/proc/{pid}")
    names = ("cmdline", "comm") if place.exists() else ()
    return [(place / name).read_bytes() for name in names]


def _note(written: Written, done: Done) -> None:
    written.add(done.out, done.err)
