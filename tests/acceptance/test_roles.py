"""Two roles and no superuser: one migrates, and one serves with what it was granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support import connect
from tests.support.commands import Rowcast
from tests.support.listeners import listening
from tests.support.replica import following, rows
from tests.support.roles import logins, owning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES = """
CREATE TABLE items (id int PRIMARY KEY, shelf text, n int, secret text);
CREATE TABLE kept (id int PRIMARY KEY, n int);
CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
CREATE TABLE others (id int PRIMARY KEY);
INSERT INTO items VALUES (1, 'a', 0, 'x');
INSERT INTO kept VALUES (1, 0);
"""
PLAIN = """
tables:
  items: {columns: [id, n], topics: [items, "shelves/{shelf}"]}
"""
KEPT = (
    PLAIN
    + """
  kept: {durable: true, audit: true}
  log: {mode: log, position: id}
"""
)


class Roles(NamedTuple):
    owner: str
    serving: str


@pytest.fixture
def roles(database: str, admin: psycopg.Connection) -> Iterator[Roles]:
    """The URLs of a role that owns the tables, and of one that may do nothing yet."""
    with logins(database, admin, "owner", "serving") as made:
        owning(database, admin, made[0], TABLES)
        yield Roles(*made)


@pytest.mark.parametrize("config", [PLAIN, KEPT], ids=["notify", "kept"])
async def test_the_serving_role_serves(
    roles: Roles, admin: psycopg.Connection, tmp_path: Path, config: str
) -> None:
    (tmp_path / "config.yaml").write_text(config)
    owner, serving = Rowcast(tmp_path, roles.owner), Rowcast(tmp_path, roles.serving)
    assert (await owner.run("migrate")).status == 0
    refused = await serving.run("check")
    assert refused.status == 3
    name = urlsplit(roles.serving).username or ""
    granted = await owner.run("migrate", "--roles", name)
    assert granted.status == 0, granted.err
    with connect(roles.owner) as session:
        session.execute(granted.out)  # type: ignore[arg-type]
    checked = await serving.run("check")
    assert checked.status == 0, checked.out
    topics = ["items", "kept"] if config == KEPT else ["items"]
    async with serving.serving() as served, following(served.address, *topics) as replica:
        admin.execute("UPDATE items SET n = 1, shelf = 'b'; UPDATE kept SET n = 1")
        expected = {topic: rows(admin, f"SELECT id, n FROM {topic}") for topic in topics}
        await replica.equals(expected)
        if config == KEPT:
            admin.execute("INSERT INTO log (n) VALUES (7)")
            async with following(served.address, "items"):
                pass
    _may_do_nothing_else(roles.serving, *(TRAIL if config == KEPT else ()))


async def test_a_migration_can_grant_what_serving_needs(roles: Roles, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(KEPT)
    owner, serving = Rowcast(tmp_path, roles.owner), Rowcast(tmp_path, roles.serving)
    name = urlsplit(roles.serving).username or ""
    for _ in range(2):  # a deployment does it every time
        granted = await owner.run("migrate", "--grant", name)
        assert granted.status == 0, granted.err
    assert granted.out.endswith(f"{name}: may serve\n")
    checked = await serving.run("check")
    assert checked.status == 0, checked.out
    _may_do_nothing_else(roles.serving, *TRAIL)
    unknown = await owner.run("migrate", "--grant", "nobody_of_this_name")
    assert unknown.status == 1
    assert 'role "nobody_of_this_name" does not exist' in unknown.err


PLACED = """
tables:
  entries: {mode: log, position: at, columns: [n], topics: [entries]}
"""


async def test_the_position_of_a_log_is_read_though_it_is_not_sent(
    roles: Roles, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(PLACED)
    owner, serving = Rowcast(tmp_path, roles.owner), Rowcast(tmp_path, roles.serving)
    with connect(roles.owner) as session:
        session.execute(
            "CREATE TABLE entries (id int PRIMARY KEY, at int NOT NULL, n int, secret int)"
        )
        session.execute("INSERT INTO entries VALUES (1, 20, 5), (2, 10, 6)")
    granted = await owner.run("migrate", "--grant", urlsplit(roles.serving).username or "")
    assert granted.status == 0, granted.err
    async with serving.serving() as served:
        url = f"{served.address.replace('http', 'ws', 1)}/ws"
        async with listening(url, "entries", since="start") as listener:
            with connect(roles.owner) as session:
                session.execute("INSERT INTO entries VALUES (3, 30, 7)")
            await listener.until(3)
            assert listener.ids == [2, 1, 3]
    with connect(roles.serving) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("SELECT secret FROM entries")


TRAIL = (
    "SELECT FROM rowcast.audit",
    "SELECT FROM rowcast.audit_0",
    "UPDATE rowcast.audit SET role = 'somebody else'",
    "DELETE FROM rowcast.audit_0",
    "INSERT INTO rowcast.audit_rest (slot, source, op) VALUES (9, 'kept', 'insert')",
)


def _may_do_nothing_else(url: str, *more: str) -> None:
    with connect(url) as session:
        for forbidden in (
            "SELECT secret FROM items",
            "SELECT * FROM others",
            "UPDATE items SET n = 9",
            "DELETE FROM items",
            "INSERT INTO items VALUES (9)",
            "CREATE TABLE rowcast.x ()",
            "UPDATE rowcast.alembic_version SET version_num = 'x'",
            "DROP TABLE rowcast.epoch",
            "CREATE SCHEMA x",
            *more,
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(forbidden)  # type: ignore[arg-type]


ESCALATION = """
CREATE FUNCTION {schema}.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN ALTER TABLE public.items OWNER TO {thief}; END $$;
CREATE FUNCTION {schema}.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN ALTER TABLE public.items OWNER TO {thief}; RETURN NULL; END $$;
CREATE FUNCTION {schema}.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN ALTER TABLE public.items OWNER TO {thief}; RETURN 1; END $$;
"""


async def test_who_writes_gets_no_rights_by_it(
    roles: Roles, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """A search path of their own does not make the bridge's functions run theirs as its owner."""
    (tmp_path / "config.yaml").write_text(KEPT)
    await Rowcast(tmp_path, roles.owner).migrate()
    thief = sql.Identifier(urlsplit(roles.serving).username or "")
    admin.execute(sql.SQL("CREATE SCHEMA evil AUTHORIZATION {}").format(thief))
    admin.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE ON kept, log, items TO {}").format(thief))
    with connect(roles.serving) as session:
        session.execute(sql.SQL(ESCALATION).format(schema=sql.Identifier("evil"), thief=thief))
        session.execute("SET search_path = evil, pg_catalog, public")
        session.execute("UPDATE kept SET n = 5")
        session.execute("UPDATE items SET n = 5")
        session.execute("INSERT INTO log (n) VALUES (5)")
        owned = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'items'")
        assert owned.fetchone() == (urlsplit(roles.owner).username,)


SAFE = """
SELECT p.oid::regprocedure::text, p.prosecdef, pg_get_userbyid(p.proowner),
       coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false),
       p.prorettype = 'trigger'::regtype,
       has_function_privilege(%s, p.oid, 'EXECUTE'), p.prosrc ~* '\\yEXECUTE\\y'
FROM pg_proc AS p WHERE p.pronamespace = 'rowcast'::regnamespace
"""


async def test_no_function_lends_rights(
    roles: Roles, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """Every function there is in the schema, whichever those are by now."""
    (tmp_path / "config.yaml").write_text(f"events: true\n{KEPT}")
    await Rowcast(tmp_path, roles.owner).migrate()
    owner, other = (urlsplit(url).username or "" for url in roles)
    found = admin.execute(SAFE, [other]).fetchall()
    assert sum(lends for _, lends, *_ in found) >= 3, "those of durable and log tables, and events"
    for function, lends, owned_by, fixed, triggers, callable_, dynamic in found:
        assert owned_by == owner, function
        assert fixed, f"{function} has a search_path of its own"
        assert not (lends and dynamic), f"{function} runs SQL that it makes up"
        assert not (lends and callable_), f"{function} may be called by anybody"
        if lends and triggers:
            with connect(roles.serving) as session, pytest.raises(psycopg.Error):
                session.execute(f"SELECT {function}")  # type: ignore[arg-type]
            with connect(roles.serving) as session:
                session.execute("CREATE TEMP TABLE mine (id int, n int)")
                trigger = f"CREATE TRIGGER steal AFTER INSERT ON mine EXECUTE FUNCTION {function}"
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(trigger)  # type: ignore[call-overload]
