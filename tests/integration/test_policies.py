"""What `rowcast check` finds where the config leaves it to policies who sees what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from bridge import migrate
from bridge.inspection import inspect
from tests.support import connect
from tests.support.bridges import configure
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config import Config

TABLES = """
CREATE TABLE docs (id int PRIMARY KEY, body text);
CREATE VIEW pages AS SELECT id, body FROM docs;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON docs USING (true);
GRANT SELECT ON docs, pages TO {role};
"""
GRANTS = "GRANT USAGE ON SCHEMA rowcast TO {role}; GRANT SELECT ON rowcast.epoch TO {role}"
CONFIG = "  docs: {columns: all}\n"
PAGES = "  docs: {columns: all, document: pages}\n"
INVOKER = "ALTER VIEW pages SET (security_invoker)"

FOUND = {
    "nothing": ("SELECT", CONFIG, None, False),
    "bypass": ("ALTER ROLE {role} BYPASSRLS", CONFIG, "no policy applies to {role}", True),
    "owner": ("ALTER TABLE docs OWNER TO {role}", CONFIG, "{role} owns public.docs", True),
    "off": ("ALTER TABLE docs DISABLE ROW LEVEL SECURITY", CONFIG, "no row-level sec", False),
    "none": ("DROP POLICY everything ON docs", CONFIG, "no policy shows {role} any", False),
    "another's": (
        "ALTER POLICY everything ON docs TO pg_monitor", CONFIG, "no policy shows {role}", False,
    ),
    "for writes": (
        "DROP POLICY everything ON docs; CREATE POLICY w ON docs FOR UPDATE USING (true)",
        CONFIG, "no policy shows {role} any", False,
    ),
    "view": ("SELECT", PAGES, "public.pages is read with its owner's rights", False),
    "select": ("REVOKE SELECT ON docs FROM {role}", CONFIG, "{role} may not read", True),
    "epoch": ("REVOKE SELECT ON rowcast.epoch FROM {role}", CONFIG, "GRANT SELECT ON", True),
    "schema": ("REVOKE USAGE ON SCHEMA rowcast FROM {role}", CONFIG, "GRANT USAGE ON", True),
    "log": ("SELECT", "  docs: {columns: all, mode: log}\n", None, False),
}  # fmt: skip


@pytest.fixture
def role(connection: psycopg.Connection) -> Iterator[str]:
    name = f"app_{uuid4().hex[:8]}"
    connection.execute(f"CREATE ROLE {name}")
    connection.execute(TABLES.format(role=name))
    yield name
    connection.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def installed(connection: psycopg.Connection, database: str, role: str, tables: str) -> Config:
    rls = {"role": role}
    auth = {"jwt": {"secret": SECRET}, "allow": [{"topic": "**"}], "rls": rls}
    config = configure(database, tables, auth=json.dumps(auth))
    migrate.apply(config, progress=lambda _line: None)
    connection.execute(GRANTS.format(role=role))
    return config


@pytest.mark.parametrize("case", FOUND)
def test_what_is_found(connection: psycopg.Connection, database: str, role: str, case: str) -> None:
    change, tables, expected, grave = FOUND[case]
    config = installed(connection, database, role, tables)
    connection.execute(change.format(role=role))
    found = [finding for finding in inspect(config) if finding.about != "definer"]
    if expected is None:
        assert found == []
        return
    (finding,) = found
    assert expected.format(role=role) in finding.message
    assert finding.grave is grave


def test_a_view_that_is_read_as_whoever_asks(
    connection: psycopg.Connection, database: str, role: str
) -> None:
    if connection.info.server_version < 150000:
        pytest.skip("PostgreSQL 15 began to have such views")
    config = installed(connection, database, role, PAGES)
    connection.execute(INVOKER)
    assert list(inspect(config)) == []


def test_a_role_that_is_not_there(connection: psycopg.Connection, database: str, role: str) -> None:
    installed(connection, database, role, CONFIG)
    auth = {"jwt": {"secret": SECRET}, "allow": [{"topic": "**"}], "rls": {"role": "nobody"}}
    (finding,) = inspect(configure(database, CONFIG, auth=json.dumps(auth)))
    assert "there is no role nobody" in finding.message


def test_a_role_that_the_serving_one_may_not_be(
    connection: psycopg.Connection, database: str, role: str
) -> None:
    serving = f"{role}_serving"
    config = installed(connection, database, role, CONFIG)
    connection.execute(
        f"CREATE ROLE {serving} LOGIN; GRANT USAGE ON SCHEMA rowcast TO {serving};"
        f" GRANT SELECT, UPDATE ON rowcast.epoch TO {serving}"
    )
    auth = {"jwt": {"secret": SECRET}, "allow": [{"topic": "**"}], "rls": {"role": role}}
    as_serving = psycopg.conninfo.make_conninfo(database, user=serving)
    try:
        with connect(as_serving):
            pass
        (finding,) = inspect(configure(as_serving, CONFIG, auth=json.dumps(auth)))
        assert f"GRANT {role} TO {serving}" in finding.message
        connection.execute(f"GRANT {role} TO {serving}")
        assert list(inspect(config)) == []
        assert list(inspect(configure(as_serving, CONFIG, auth=json.dumps(auth)))) == []
    finally:
        connection.execute(f"DROP OWNED BY {serving}; DROP ROLE {serving}")
