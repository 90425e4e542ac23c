"""`deploy/compose.yaml` without containers: its database, config, roles, HAProxy and probes."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

from bridge.demo.ports import free_port
from tests.support import connect, http
from tests.support.balancers import HAPROXY, shipped_haproxy
from tests.support.commands import Rowcast
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from bridge.demo.postgres import Postgres

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="no HAProxy found")


def prepared(postgres: Postgres) -> str:
    """What the image of PostgreSQL does at its first start; the database's URL."""
    script = (ROOT / "deploy/compose/database.sql").read_text()
    script = re.sub(r"^\\set .*$", "", script, flags=re.MULTILINE)
    script = re.sub(r":'\w+'", "'of-a-role'", script)
    url = postgres.url()
    with connect(url) as session:
        session.execute("CREATE DATABASE app")
    app = urlsplit(url)._replace(path="/app").geturl()
    with connect(app) as session:
        session.execute(script.encode())
    return app


def service(name: str, database: str, directory: Path) -> Rowcast:
    """A service's environment and config, with the paths and addresses of this machine."""
    text = (ROOT / "deploy/compose/config.yaml").read_text()
    secret = directory / "password"
    secret.write_text("of-a-role\n")
    place = urlsplit(database).netloc.rpartition("@")[2]
    text = text.replace("/run/secrets/password", str(secret)).replace("db:5432", place)
    (directory / "config.yaml").write_text(text)
    found = Rowcast(directory, "postgresql:///not_used")
    found.environment |= COMPOSE["services"][name]["environment"]
    return found


async def test_the_composed_services_serve(postgres: Postgres, tmp_path: Path) -> None:
    database = prepared(postgres)
    migrate, bridge = (service(name, database, tmp_path) for name in ("migrate", "bridge-a"))
    for _ in range(2):  # at each `up`
        done = await migrate.run(*COMPOSE["services"]["migrate"]["command"])
        assert done.status == 0, done.err
    checked = await bridge.run("check")
    assert checked.status == 0, checked.out
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        served = [
            await stack.enter_async_context(bridge.serving("--port", str(port))) for port in ports
        ]
        bridges = [f"127.0.0.1:{port}" for port in ports]
        address = await stack.enter_async_context(shipped_haproxy(tmp_path, bridges))
        await http.until(address, "/readyz", ready=True)
        for one in served:
            for path in probed():
                assert (await http.get(one.address, path, Connection="close")).status == 200
        admin = stack.enter_context(connect(database))
        replicas = [
            await stack.enter_async_context(following(address, "orders", "orders/2"))
            for _ in range(4)
        ]
        admin.execute("INSERT INTO order_items VALUES (2, 1, 'tea')")
        assert await served[0].stop() == 0
        admin.execute("UPDATE orders SET status = 'paid' WHERE id = 2")
        expected = {
            "orders": rows(admin, "SELECT * FROM orders"),
            "orders/2": rows(admin, "SELECT * FROM orders WHERE id = 2"),
        }
        for replica in replicas:
            await replica.equals(expected)
            assert replica.regressions == []


def probed() -> set[str]:
    """Every path that something of `deploy/` or the Dockerfile asks for."""
    files = [ROOT / "Dockerfile", *filter(Path.is_file, (ROOT / "deploy").rglob("*"))]
    text = "\n".join(
        re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE) for file in files
    )
    found = set(re.findall(r"(?<=[\s\d:])/[a-z]+z\b|/metrics\b", text))
    assert found == {"/healthz", "/readyz", "/metrics"}
    return found
