"""What writes to the bridge's schema belongs to a role that can do nothing else, if asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
from psycopg import sql

from bridge import catalog, migrate, watch
from bridge.drift import drift
from bridge.errors import BridgeError, CatalogError
from bridge.inspection import inspect
from tests.support import connect, http
from tests.support.bridges import configure, running
from tests.support.fingerprint import fingerprint
from tests.support.listeners import listening
from tests.support.replica import following, rows
from tests.support.roles import drop, logins, name, owning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config import Config

TABLES = """
CREATE TABLE items (id int PRIMARY KEY, shelf text, n int);
CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item int, body text);
CREATE TABLE plain (id int PRIMARY KEY, n int);
INSERT INTO items VALUES (1, 'a', 0), (2, 'b', 0);
"""
CONFIG = """
  items: {durable: true, audit: {values: [n]}, topics: [items, "shelves/{shelf}"]}
  notes: {mode: log, position: id}
  plain:
"""


class Roles(NamedTuple):
    """URLs of who owns the tables, who serves and who writes; and the name of the fourth."""

    owner: str
    serving: str
    writer: str
    definer: str


@pytest.fixture
def roles(database: str, admin: psycopg.Connection) -> Iterator[Roles]:
    with logins(database, admin, "owner", "serving", "writer", "definer") as made:
        owner, serving, writer, definer = made
        owning(database, admin, owner, TABLES)
        admin.execute(f"GRANT SELECT, INSERT, UPDATE ON items, notes, plain TO {name(writer)}")
        admin.execute(f"ALTER ROLE {name(definer)} NOLOGIN")
        admin.execute(f"GRANT {name(definer)} TO {name(owner)}")
        yield Roles(owner, serving, writer, name(definer))


def configured(roles: Roles, tables: str = CONFIG, **more: str) -> Config:
    return configure(roles.owner, tables, events="true", definer=roles.definer, **more)


def migrated(config: Config) -> list[str]:
    lines: list[str] = []
    migrate.apply(config, progress=lines.append)
    return lines


def served_by(config: Config, roles: Roles) -> Config:
    """The same for the serving role, with what that needs."""
    migrate.grant(config, name(roles.serving), progress=lambda _line: None)
    return replace(config, database=roles.serving, listen=roles.serving)


def written(roles: Roles) -> None:
    """Every kind of write that is kept, by a role without any right on the bridge's schema."""
    with connect(roles.writer) as session:
        session.execute("INSERT INTO items VALUES (3, 'a', 0)")
        session.execute("UPDATE items SET n = n + 1, shelf = 'c' WHERE id < 3")
        session.execute("INSERT INTO notes (item, body) VALUES (1, 'x'), (2, 'y')")
        session.execute("INSERT INTO plain VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 2")


COUNTS = """
SELECT (SELECT count(*) FROM rowcast.changes), (SELECT count(*) FROM rowcast.log),
       (SELECT count(*) FROM rowcast.audit)
"""


def counts(admin: psycopg.Connection) -> tuple[int, int, int]:
    (found,) = admin.execute(COUNTS).fetchall()
    return (found[0], found[1], found[2])


async def test_everything_works_as_it(roles: Roles, admin: psycopg.Connection) -> None:
    config = configured(roles)
    migrated(config)
    with connect(roles.writer) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("SELECT FROM rowcast.changes")
    serving = served_by(config, roles)
    assert [str(finding) for finding in inspect(serving)] == []
    admin.execute(f"GRANT USAGE ON SCHEMA rowcast TO {name(roles.writer)}")
    admin.execute(f"GRANT EXECUTE ON FUNCTION rowcast.publish TO {name(roles.writer)}")
    async with (
        running(serving, migrated=False) as bridge,
        following(bridge.url, "items") as replica,
        listening(bridge.url, "notes") as listener,
    ):
        await listener.begun()
        written(roles)
        with connect(roles.writer) as session:
            session.execute("SELECT rowcast.publish('c', '1')")
        await replica.equals({"items": rows(admin, "SELECT id, shelf, n FROM items")})
        await listener.until(2)
    kept = counts(admin)
    assert kept[1:] == (3, 3), "two notes and an event; three rows of items"
    assert kept[0] > 0


# What a role may do, as text: with every object that there is in the database.
RIGHTS = """
SELECT 'schema ' || nspname || ' ' || p FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) AS p
WHERE nspname !~ '^pg_(toast_)?temp' AND has_schema_privilege(%(role)s, oid, p)
UNION ALL
SELECT c.oid::regclass || ' ' || p FROM pg_class AS c, unnest(ARRAY[
    'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace::regnamespace::text !~ '^pg_toast'
  AND (has_table_privilege(%(role)s, c.oid, p)
       OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
          AND has_any_column_privilege(%(role)s, c.oid, p))
UNION ALL
SELECT oid::regclass || ' ' || p FROM pg_class, unnest(ARRAY['SELECT', 'USAGE', 'UPDATE']) AS p
WHERE relkind = 'S' AND has_sequence_privilege(%(role)s, oid, p)
UNION ALL
SELECT oid::regprocedure::text FROM pg_proc WHERE has_function_privilege(%(role)s, oid, 'EXECUTE')
UNION ALL
SELECT 'database ' || datname || ' ' || p
FROM pg_database, unnest(ARRAY['CREATE', 'CONNECT', 'TEMP']) AS p
WHERE datname = current_database() AND has_database_privilege(%(role)s, oid, p)
UNION ALL
SELECT 'language ' || lanname FROM pg_language WHERE has_language_privilege(%(role)s, oid, 'USAGE')
UNION ALL
SELECT 'tablespace ' || spcname FROM pg_tablespace
WHERE has_tablespace_privilege(%(role)s, oid, 'CREATE')
UNION ALL
SELECT 'role ' || rolname FROM pg_roles
WHERE rolname <> %(role)s AND pg_has_role(%(role)s, oid, 'MEMBER')
UNION ALL
SELECT 'attribute' FROM pg_roles WHERE rolname = %(role)s AND (rolsuper OR rolcreaterole
    OR rolcreatedb OR rolcanlogin OR rolreplication OR rolbypassrls OR rolconfig IS NOT NULL)
"""
STORES = {
    *(f"rowcast.{store}{part}" for store in ("changes", "log", "audit") for part in
      ("", "_rest", "_about", *(f"_{n}" for n in range(8)))),
    "rowcast.events",
    "rowcast.channels",
}  # fmt: skip


async def test_it_can_do_nothing_else(roles: Roles, admin: psycopg.Connection) -> None:
    """Compared with a role that was never granted anything, right by right."""
    migrated(configured(roles))
    admin.execute(f"ALTER ROLE {name(roles.serving)} NOLOGIN")
    may = rights(admin, roles.definer) - rights(admin, name(roles.serving))
    tables = {right for right in may if right.split()[0] in STORES}
    assert {right.split()[0] for right in tables} == STORES
    sequences = {right for right in may if right.split()[0].endswith(("_seq", "_slot"))}
    functions = {right for right in may if right.endswith(")")}
    assert {right.split("(")[0].split("_")[0] for right in functions} == {
        "rowcast.append",
        "rowcast.audit",
        "rowcast.capture",
        "rowcast.publish",
    }
    assert may - tables - sequences - functions == {"schema rowcast USAGE"}
    for about in ("epoch", "alembic_version"):
        assert not {right for right in may if about in right}


def rights(admin: psycopg.Connection, role: str) -> set[str]:
    return {right for (right,) in admin.execute(RIGHTS, {"role": role}).fetchall()}


# Everything that a function might find in place of PostgreSQL's own, if it looked where the
# writer says. Each notes down as whom it ran.
ESCALATION = """
CREATE TABLE evil.caught (who name, what text);
GRANT ALL ON evil.caught TO PUBLIC; GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.catch(what text) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO evil.caught VALUES (current_user, what) $$;
CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('pg_notify'); END $$;
CREATE FUNCTION evil.to_json(text) RETURNS json LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('to_json'); RETURN '0'; END $$;
CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('to_jsonb'); RETURN '0'; END $$;
CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('octet_length'); RETURN 1; END $$;
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('current_setting'); RETURN '0'; END $$;
CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('to_regclass'); RETURN NULL; END $$;
CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('nextval'); RETURN 1; END $$;
CREATE FUNCTION evil.joined(text, text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('||'); RETURN ''; END $$;
CREATE OPERATOR evil.|| (FUNCTION = evil.joined, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('='); RETURN true; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.<> (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.more(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.catch('>'); RETURN true; END $$;
CREATE OPERATOR evil.> (FUNCTION = evil.more, LEFTARG = bigint, RIGHTARG = bigint);
"""
SHADOWS = """
CREATE TEMP TABLE changes (LIKE public.items); CREATE TEMP TABLE old_rows (id int);
CREATE TEMP TABLE new_rows (id int); CREATE TEMP TABLE pg_class (oid int);
CREATE TEMP SEQUENCE changes_seq;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (evil.same(VALUE, VALUE));
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (evil.same('', ''));
"""


async def test_who_writes_cannot_act_as_it(
    roles: Roles, database: str, admin: psycopg.Connection
) -> None:
    migrated(configured(roles))
    place = sql.Identifier(database.rsplit("/", 1)[1].split("?")[0])
    thief = sql.Identifier(name(roles.writer))
    admin.execute(sql.SQL("GRANT TEMP ON DATABASE {} TO {}").format(place, thief))
    admin.execute(sql.SQL("CREATE SCHEMA evil AUTHORIZATION {}").format(thief))
    admin.execute(sql.SQL("GRANT USAGE ON SCHEMA rowcast TO {}").format(thief))
    admin.execute(
        sql.SQL("GRANT EXECUTE ON FUNCTION rowcast.publish, rowcast.append TO {}").format(thief)
    )
    with connect(roles.writer) as session:
        session.execute(ESCALATION)
        session.execute(SHADOWS)
        session.execute("SET search_path = pg_temp, evil, pg_catalog, public")
        session.execute("INSERT INTO public.items VALUES (7, 'a', 0), (8, 'b', 1)")
        session.execute("UPDATE public.items SET n = 5, shelf = 'z'")
        session.execute("INSERT INTO public.notes (item, body) VALUES (5, 'x')")
        session.execute("SELECT FROM rowcast.publish('c', '1', '{}')")
        session.execute("SELECT FROM rowcast.append('c', '[{\"data\": 1}]')")
        session.execute("SELECT 'a'::pg_catalog.text || 'b'::pg_catalog.text")
    caught = admin.execute("SELECT DISTINCT who FROM evil.caught").fetchall()
    assert caught == [(name(roles.writer),)], "its own statement alone"
    assert counts(admin) == (2, 3, 6)
    with connect(roles.writer) as session:
        for attempt in (
            sql.SQL("SET ROLE {}").format(sql.Identifier(roles.definer)),
            "INSERT INTO rowcast.changes (slot, payload) VALUES (0, '{}')",
            "CREATE TRIGGER t AFTER INSERT ON rowcast.changes EXECUTE FUNCTION evil.same()",
            "CREATE FUNCTION rowcast.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(attempt)  # type: ignore[arg-type]


def test_what_was_made_without_it_is_given_to_it(roles: Roles, admin: psycopg.Connection) -> None:
    """And all of it goes again, so that nothing keeps the role from being dropped."""
    admin.execute(f"CREATE SCHEMA rowcast AUTHORIZATION {name(roles.owner)}")
    admin.execute(f"GRANT USAGE ON SCHEMA rowcast TO {name(roles.writer)}")
    before = fingerprint(admin)
    config = configured(roles)
    migrated(replace(config, definer=None))
    written(roles)
    kept = counts(admin)
    serving = served_by(config, roles)
    found = list(inspect(serving))
    assert not any(finding.grave for finding in found)
    assert any("runs as owner_" in finding.message for finding in found)
    unasked = [str(finding) for finding in inspect(replace(serving, definer=None))]
    assert len(unasked) == 1
    assert "run as owner_" in unasked[0]
    lines = migrated(config)
    assert f"rowcast: give changes to {roles.definer}" in lines
    assert counts(admin) == kept
    assert migrated(config) == ["nothing to do: 4 tables are captured"]
    assert [str(finding) for finding in inspect(serving)] == []
    written_again = kept[1] + 2
    with connect(roles.writer) as session:
        session.execute("INSERT INTO notes (item) VALUES (1), (2)")
    assert counts(admin)[1] == written_again
    admin.execute("TRUNCATE rowcast.audit")
    admin.execute(f"DROP OWNED BY {name(roles.serving)}")
    removed: list[str] = []
    migrate.remove(config, progress=removed.append)
    assert any(f"the role {roles.definer} stays" in line for line in removed)
    assert not admin.execute(
        "SELECT FROM pg_shdepend WHERE refobjid = %s::regrole", [roles.definer]
    ).fetchall()
    assert fingerprint(admin) == before


async def test_a_right_that_is_lost_fails_no_write(
    roles: Roles, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a restore without rights; it is found, and mended by a migration."""
    monkeypatch.setattr(watch, "INTERVAL", 0.05)
    config = configured(roles)
    migrated(config)
    serving = served_by(config, roles)
    async with running(serving, migrated=False) as bridge:
        admin.execute(f"REVOKE ALL ON SCHEMA rowcast FROM {roles.definer}")
        written(roles)
        assert counts(admin) == (0, 0, 0)
        await http.until(bridge.http, "/readyz", ready=False)
        found = [finding for finding in inspect(serving) if finding.grave]
        assert {finding.about for finding in found} == {"rowcast"}
        assert all("may not write to rowcast" in finding.message for finding in found)
        await asyncio.to_thread(migrated, config)
        await http.until(bridge.http, "/readyz", ready=True)
    with connect(roles.writer) as session:
        session.execute("UPDATE items SET n = 9 WHERE id = 1")
    assert counts(admin) == (1, 0, 1)


def test_a_function_that_somebody_else_owns_is_mended_without_a_role(
    roles: Roles, admin: psycopg.Connection
) -> None:
    config = replace(configured(roles), definer=None)
    migrated(config)
    admin.execute(f"GRANT USAGE, CREATE ON SCHEMA rowcast TO {roles.definer}")
    for (function,) in admin.execute(
        "SELECT DISTINCT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'notes'::regclass"
    ).fetchall():
        admin.execute(f"ALTER FUNCTION {function}() OWNER TO {roles.definer}")
    written(roles)
    assert counts(admin)[1] == 0
    migrated(config)
    written_once = counts(admin)[1]
    with connect(roles.writer) as session:
        session.execute("INSERT INTO notes (item) VALUES (1)")
    assert counts(admin)[1] == written_once + 1
    with connect(roles.owner) as session:
        tables = catalog.resolved(session, config)
        assert drift(session, config, tables) == []


REFUSED = {
    "missing": ("DROP ROLE {definer}", "there is no role '{definer}'; CREATE ROLE"),
    "no member": ("REVOKE {definer} FROM {owner}", "cannot give anything to it; GRANT"),
    "login": ("ALTER ROLE {definer} LOGIN", "can log in"),
    "member": ("GRANT pg_read_all_data TO {definer}", "is a member of pg_read_all_data"),
    "owner": ("ALTER TABLE plain OWNER TO {definer}", "owns table plain"),
    "powerful": ("ALTER ROLE {definer} BYPASSRLS", "has BYPASSRLS"),
}


@pytest.mark.parametrize(("made", "message"), REFUSED.values(), ids=REFUSED)
def test_a_role_that_will_not_do_is_refused_before_anything_is_changed(
    roles: Roles, admin: psycopg.Connection, made: str, message: str
) -> None:
    names = {"definer": roles.definer, "owner": name(roles.owner)}
    admin.execute(made.format(**names))  # type: ignore[arg-type]
    try:
        with pytest.raises(CatalogError) as refused:
            migrated(configured(roles))
        (problem,) = refused.value.problems
        assert problem.path == "definer"
        assert message.format(**names) in problem.message
        assert not admin.execute("SELECT to_regnamespace('rowcast')").fetchone()[0]  # type: ignore[index]
    finally:
        admin.execute("ALTER TABLE plain OWNER TO CURRENT_USER")
        if "DROP" in made:
            admin.execute(f"CREATE ROLE {roles.definer}")


CLOSED = """
CREATE SCHEMA app; REVOKE ALL ON SCHEMA app FROM PUBLIC;
CREATE FUNCTION app.shown(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 < 100';
CREATE TABLE app.hidden (id int);
"""


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("app.shown(n)", "permission denied for schema app"),
        ("id NOT IN (SELECT id FROM app.hidden)", "permission denied for schema app"),
    ],
)
def test_a_condition_that_is_closed_to_it_is_refused(
    roles: Roles, admin: psycopg.Connection, where: str, reason: str
) -> None:
    with connect(roles.owner) as session:
        session.execute(CLOSED)
    tables = f'\n  items: {{durable: true, where: "{where}"}}\n  plain: {{where: "{where}"}}\n'
    config = configured(roles, tables)
    with pytest.raises(CatalogError) as refused:
        migrated(config)
    (problem,) = refused.value.problems
    assert problem.path == "tables.items.where"
    assert f"{reason} as {roles.definer}" in problem.message
    admin.execute(f"GRANT USAGE ON SCHEMA app TO {roles.definer}")
    admin.execute(f"GRANT SELECT ON app.hidden TO {roles.definer}")
    migrated(config)
    admin.execute("UPDATE items SET n = 1")
    payloads = admin.execute("SELECT payload FROM rowcast.changes").fetchall()
    assert [payload for (payload,) in payloads if '"o":"*"' in payload] == []
    told = [str(finding) for finding in inspect(config)]
    assert all("has rights on" in line for line in told)
    assert told


def test_a_role_can_be_named_to_serve_and_own(roles: Roles) -> None:
    config = configured(roles)
    migrated(config)
    script = migrate.grants(config, name(roles.serving))
    assert f'-- CREATE ROLE "{roles.definer}" NOLOGIN;' in script
    assert f'-- GRANT "{roles.definer}" TO "{name(roles.owner)}";' in script
    without = migrate.grants(replace(config, definer=None), name(roles.serving))
    assert '`definer: "rowcast_definer"`' in without


def test_two_bridges_may_share_it(roles: Roles, admin: psycopg.Connection) -> None:
    first, second = configured(roles), configured(roles, schema="rowcast_too")
    for config in (first, second):
        migrated(config)
        assert [str(finding) for finding in inspect(config)] == []
    for config in (first, second):
        migrate.remove(config, progress=lambda _line: None)
    drop(admin, roles.definer)
    admin.execute(f"CREATE ROLE {roles.definer}")
    with pytest.raises(BridgeError, match="cannot give anything to it"):
        migrated(first)
