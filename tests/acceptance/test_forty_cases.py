"""What PostgreSQL can do to a watched table, case by case: no write fails, no subscriber is wrong.

Each case has a schema of its own with a table `t` in it; one bridge watches them all.
UNSEEN are what no trigger sees, and what takes away the names that the bridge reads by:
there the writes must succeed, and no more is asked of capture.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from tests.support import connect, fresh_database
from tests.support.bridges import configure, running
from tests.support.differential import application_role
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support import Server
    from tests.support.bridges import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = """
CREATE TABLE t (id int PRIMARY KEY, grp int, note text);
INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c');
"""
PARTS = """
CREATE TABLE t (id int PRIMARY KEY, grp int, note text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20);
CREATE TABLE apart (id int PRIMARY KEY, grp int, note text); INSERT INTO apart VALUES (21, 1, 'z');
INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'b'), (11, 2, 'c');
"""
PARENT = """
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE t (id int PRIMARY KEY, grp int REFERENCES p ON DELETE {action} ON UPDATE CASCADE,
                note text);
INSERT INTO p VALUES (1), (2), (3);
INSERT INTO t SELECT n, (n + 1) / 2, 'a' FROM generate_series(1, 6) n;
"""
CASCADE, SET_NULL = PARENT.format(action="CASCADE"), PARENT.format(action="SET NULL")
CHILD = TABLE + "CREATE TABLE child (extra int) INHERITS (t); INSERT INTO child VALUES (8, 1, 'h');"
TEXT_KEY = """
CREATE TABLE t (id text PRIMARY KEY, grp int, note text);
INSERT INTO t VALUES ('1', 1, 'a');
"""
EVIL = """
CREATE FUNCTION pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
CREATE FUNCTION octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0';
CREATE FUNCTION same(int, int) RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1';
CREATE OPERATOR = (leftarg = int, rightarg = int, function = same);
"""


def body(text: str, language: str = "plpgsql") -> str:
    return f"LANGUAGE {language} AS $_$ {text} $_$;"


SKIP = "CREATE FUNCTION f() RETURNS trigger " + body("BEGIN RETURN NULL; END")
ALTER = "CREATE FUNCTION f() RETURNS trigger " + body(
    "BEGIN NEW.note := 'by trigger'; NEW.id := NEW.id + 10; RETURN NEW; END"
)
AGAIN = "CREATE FUNCTION f() RETURNS trigger " + body(
    "BEGIN IF pg_trigger_depth() < 2 THEN UPDATE t SET note = note || '!'; END IF; RETURN NULL; END"
)
CHUNKS = "CREATE PROCEDURE f() " + body(
    "BEGIN FOR i IN 1..3 LOOP UPDATE t SET note = 'x' WHERE id = i; COMMIT; END LOOP; END"
)
INSTEAD = "CREATE FUNCTION f() RETURNS trigger " + body(
    "BEGIN INSERT INTO t VALUES (NEW.id, 1, 'through'); RETURN NEW; END"
)


class Copy(NamedTuple):
    """COPY t FROM STDIN, and what it reads."""

    data: str


class Case(NamedTuple):
    """`before` makes the table, `during` is what the application does; $s is the schema."""

    before: str
    during: tuple[str | Copy, ...]


def case(*during: str | Copy, before: str = TABLE) -> Case:
    return Case(before, during)


SEEN = {
    "update of no row": case("UPDATE t SET note = 'x' WHERE id = 99"),
    "update that changes nothing": case("UPDATE t SET note = note"),
    "insert that conflicts": case("INSERT INTO t VALUES (1, 9, 'x') ON CONFLICT DO NOTHING"),
    "BEFORE trigger that skips": case(
        "INSERT INTO t VALUES (9); UPDATE t SET note = 'x'; DELETE FROM t",
        before=f"{TABLE}{SKIP} CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON t"
        " FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "BEFORE trigger that alters": case(
        "INSERT INTO t VALUES (9, 1, 'x')",
        before=f"{TABLE}{ALTER} CREATE TRIGGER a BEFORE INSERT ON t"
        " FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "AFTER ROW trigger that writes again": case(
        "UPDATE t SET grp = 7 WHERE id = 1",
        before=f"{TABLE}{AGAIN} CREATE TRIGGER a AFTER UPDATE ON t"
        " FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "later statement trigger that writes again": case(
        "UPDATE t SET grp = 7 WHERE id = 1",
        before=f"{TABLE}{AGAIN} CREATE TRIGGER zz AFTER UPDATE ON t"
        " FOR EACH STATEMENT EXECUTE FUNCTION f()",
    ),
    "deferred trigger that writes at commit": case(
        "BEGIN; INSERT INTO t VALUES (9, 1, 'x'); COMMIT",
        before=f"{TABLE}{AGAIN} CREATE CONSTRAINT TRIGGER zz AFTER INSERT ON t"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "upsert": case(
        "INSERT INTO t VALUES (1, 9, 'x'), (9, 1, 'y') ON CONFLICT (id) DO UPDATE"
        " SET grp = excluded.grp"
    ),
    "merge": case(
        "MERGE INTO t USING (VALUES (1), (2), (9)) v(id) ON t.id = v.id"
        " WHEN MATCHED AND t.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET grp = 5"
        " WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1, 'merged')"
    ),
    "writes in common table expressions": case(
        "WITH a AS (UPDATE t SET grp = 5 WHERE id = 1), b AS (DELETE FROM t WHERE id = 2)"
        " INSERT INTO t VALUES (9, 1, 'x')"
    ),
    "update from a join": case("UPDATE t SET note = 'j' FROM t o WHERE o.id = t.id + 1"),
    "delete using a join": case("DELETE FROM t USING t o WHERE o.id = t.id + 1"),
    "copy": case(Copy("8\t1\tx\n9\t\\N\ty\n")),
    "truncate and copy in one transaction": case("BEGIN; TRUNCATE t", Copy("9\t1\tx\n"), "COMMIT"),
    "delete that cascades": case("DELETE FROM p", before=CASCADE),
    "update that cascades": case("UPDATE p SET id = 9 WHERE id = 1", before=CASCADE),
    "delete that sets NULL": case("DELETE FROM p WHERE id < 3", before=SET_NULL),
    "truncate": case("TRUNCATE t"),
    "truncate that cascades": case("TRUNCATE p CASCADE", before=CASCADE),
    "partitions through their root": case(
        "INSERT INTO t VALUES (4, 1, 'x'), (14, 1, 'y')",
        "UPDATE t SET note = 'z' WHERE id IN (1, 11); DELETE FROM t WHERE id = 2",
        before=PARTS,
    ),
    "move between partitions": case("UPDATE t SET id = id + 13 WHERE id < 10", before=PARTS),
    "truncate of all partitions": case("TRUNCATE t", before=PARTS),
    "partition attached empty": case(
        "DELETE FROM apart; ALTER TABLE t ATTACH PARTITION apart FOR VALUES FROM (20) TO (30)",
        "INSERT INTO t VALUES (22, 1, 'x')",
        before=PARTS,
    ),
    "children through their parent": case(
        "UPDATE t SET note = 'x'; DELETE FROM t WHERE id = 8", before=CHILD
    ),
    "rollback": case("BEGIN; DELETE FROM t; ROLLBACK"),
    "savepoints": case(
        "BEGIN; DELETE FROM t WHERE id = 1; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s;"
        " SAVEPOINT r; UPDATE t SET grp = 9 WHERE id = 2; RELEASE r; COMMIT"
    ),
    "error caught in a block": case(
        "DO $$ BEGIN UPDATE t SET grp = 9 WHERE id = 1; BEGIN DELETE FROM t; PERFORM 1 / 0;"
        " EXCEPTION WHEN division_by_zero THEN NULL; END; END $$"
    ),
    "procedure that commits": case("CALL f()", before=TABLE + CHUNKS),
    "prepared statement, many times": case(
        "PREPARE u AS UPDATE t SET note = note || '.' WHERE id = $1", *["EXECUTE u(1)"] * 8
    ),
    "cursor": case(
        "BEGIN; DECLARE c CURSOR FOR SELECT FROM t ORDER BY id FOR UPDATE; FETCH 2 FROM c;"
        " UPDATE t SET grp = 9 WHERE CURRENT OF c; COMMIT"
    ),
    "updatable view": case(
        "INSERT INTO v VALUES (9, 1, 'x'); UPDATE v SET note = 'y'; DELETE FROM v WHERE id = 1",
        before=TABLE + "CREATE VIEW v AS SELECT * FROM t WHERE grp = 1 WITH CHECK OPTION",
    ),
    "view with INSTEAD OF": case(
        "INSERT INTO v VALUES (9)",
        before=f"{TABLE}{INSTEAD} CREATE VIEW v AS SELECT id + 0 AS id FROM t; CREATE TRIGGER a"
        " INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "rule": case(
        "DELETE FROM t WHERE id = 1",
        before=TABLE + "CREATE RULE r AS ON DELETE TO t DO INSTEAD"
        " UPDATE t SET note = 'deleted' WHERE id = OLD.id",
    ),
    "serializable": case("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE t SET grp = id; COMMIT"),
    "change of the key": case("UPDATE t SET id = id + 10"),
    "swap of keys": case(
        "ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE t SET id = 3 - id WHERE id < 3"
    ),
    "move to no topic and back": case(
        "UPDATE t SET grp = NULL", "UPDATE t SET grp = 2 WHERE id = 1"
    ),
    "one row a thousand times": case(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP UPDATE t SET note = i WHERE id = 1; END LOOP; END $$"
    ),
    "more rows than are named": case(
        "INSERT INTO t SELECT i, i % 4 FROM generate_series(9, 2000) i"
    ),
    "role without rights on our schema": case(
        "GRANT ALL ON t TO $app; GRANT USAGE ON SCHEMA $s TO $app; SET ROLE $app",
        "UPDATE t SET note = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; TRUNCATE t",
        "INSERT INTO t VALUES (9, 1, 'x')",
    ),
    "capture's functions revoked": case(
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowcast FROM PUBLIC",
        "GRANT ALL ON t TO $app; GRANT USAGE ON SCHEMA $s TO $app; SET ROLE $app",
        "DELETE FROM t WHERE id = 2",
    ),
    "row security": case(
        "GRANT ALL ON t TO $app; GRANT USAGE ON SCHEMA $s TO $app; SET ROLE $app",
        "UPDATE t SET note = 'x'; DELETE FROM t WHERE id = 1",
        before=TABLE + "ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY p ON t USING (grp OPERATOR(pg_catalog.=) 1)",
    ),
    "evil search_path": case(
        "SET search_path = $s, pg_temp, pg_catalog; CREATE TEMP TABLE new_rows (id text)",
        "CREATE TEMP TABLE old_rows (id text); UPDATE t SET note = 'x'; DELETE FROM t WHERE id < 2",
        before=TABLE + EVIL,
    ),
    "odd session settings": case(
        "SET standard_conforming_strings = off; SET DateStyle = German; SET TimeZone = EST",
        "SET plpgsql.variable_conflict = use_variable; SET plpgsql.extra_errors = 'all'",
        "SET plan_cache_mode = force_generic_plan; SET client_encoding = LATIN1",
        "UPDATE t SET note = 'x', grp = 7 WHERE id = 1; DELETE FROM t WHERE id = 2",
    ),
    "keys too long to be named": case(
        "INSERT INTO t SELECT repeat('k', 9000), 1, 'x'",
        "UPDATE t SET grp = 2; DELETE FROM t WHERE id = '1'",
        before=TEXT_KEY,
    ),
    "column added": case("ALTER TABLE t ADD extra int DEFAULT 7; UPDATE t SET grp = 9, extra = 8"),
    "columns of another type": case(
        "UPDATE t SET grp = grp + 1",
        "ALTER TABLE t ALTER id TYPE bigint, ALTER note TYPE varchar(9); UPDATE t SET grp = 9",
    ),
    "rewritten table": case(
        "VACUUM FULL t", "CLUSTER t USING t_pkey; UPDATE t SET grp = 9; DELETE FROM t WHERE id = 1"
    ),
    "triggers off and on": case(
        "ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE t ENABLE TRIGGER ALL; DELETE FROM t"
    ),
    "somebody else's notifications": case(
        "NOTIFY rowcast, 'nonsense'", "NOTIFY rowcast", "DELETE FROM t WHERE id = 1"
    ),
}

RENAMED = "UPDATE t SET note = 'x'; INSERT INTO t VALUES (9); DELETE FROM t"
UNSEEN = {
    "write to a partition": case(
        "INSERT INTO low VALUES (5, 1, 'x'); UPDATE low SET grp = 9; DELETE FROM high", before=PARTS
    ),
    "truncate of a partition": case("TRUNCATE low", before=PARTS),
    "detach": case("ALTER TABLE t DETACH PARTITION low; DROP TABLE low", before=PARTS),
    "drop of a partition": case("DROP TABLE low", before=PARTS),
    "attach": case(
        "ALTER TABLE t ATTACH PARTITION apart FOR VALUES FROM (20) TO (30)", before=PARTS
    ),
    "write to a child": case("UPDATE child SET note = 'x'; DELETE FROM child", before=CHILD),
    "table renamed": case("ALTER TABLE t RENAME TO u; UPDATE u SET note = 'x'; DELETE FROM u"),
    "table in another schema": case(
        "CREATE SCHEMA gone; ALTER TABLE t SET SCHEMA gone; DELETE FROM gone.t"
    ),
    "table swapped": case(
        "CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT * FROM t",
        "BEGIN; ALTER TABLE t RENAME TO old; ALTER TABLE u RENAME TO t; COMMIT; DELETE FROM t",
    ),
    "replication role": case("SET session_replication_role = replica; DELETE FROM t"),
    "triggers off": case("ALTER TABLE t DISABLE TRIGGER USER; DELETE FROM t"),
    "key renamed": case("UPDATE t SET grp = 1; ALTER TABLE t RENAME id TO number", RENAMED),
    "topic column renamed": case("UPDATE t SET grp = 1; ALTER TABLE t RENAME grp TO g", RENAMED),
    "key dropped": case("DELETE FROM t WHERE id = 1; ALTER TABLE t DROP id", RENAMED),
    "topic column dropped": case("DELETE FROM t WHERE id = 1; ALTER TABLE t DROP grp", RENAMED),
    "keys that are NULL, and twice": case(
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER id DROP NOT NULL",
        "INSERT INTO t VALUES (NULL, 1, 'x'), (1, 1, 'x'), (1, 1, 'y'); UPDATE t SET grp = 9",
    ),
    "no right to notify": case(
        "GRANT ALL ON t TO $app; GRANT USAGE ON SCHEMA $s TO $app",
        "BEGIN; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify FROM PUBLIC; SET LOCAL ROLE $app",
        "UPDATE t SET note = 'x'; TRUNCATE t; INSERT INTO t VALUES (1); DELETE FROM t; ROLLBACK",
    ),
}

CASES = {name: (f"c{n}", case) for n, (name, case) in enumerate({**SEEN, **UNSEEN}.items())}


@pytest.fixture(scope="module")
def role(server: Server) -> Iterator[str]:
    with connect(server.url()) as connection, application_role(connection) as name:
        yield name


@pytest.fixture(scope="module")
def database(role: str, server: Server, template: str) -> Iterator[str]:
    for url in fresh_database(server, template):
        with connect(url) as connection:
            for schema, case in CASES.values():
                connection.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
                connection.execute(case.before)
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(database: str) -> AsyncIterator[Running]:
    tables = "".join(
        f'  {s}: {{table: {s}.t, columns: [id, grp, note], topics: [{s}, "{s}/{{id}}",'
        f' "{s}/groups/{{grp}}"]}}\n'
        for s, _ in CASES.values()
    )
    async with running(configure(database, tables, debounce="20ms", max_wait="100ms")) as bridge:
        yield bridge


def perform(database: str, role: str, name: str) -> None:
    """What the application does, in a session of its own; any error ends the test."""
    schema, case = CASES[name]
    with connect(database) as connection:
        connection.execute(f"SET search_path = {schema}")
        for statement in case.during:
            if isinstance(statement, Copy):
                with connection.cursor().copy("COPY t FROM STDIN") as copy:
                    copy.write(statement.data)
            else:
                connection.execute(statement.replace("$s", schema).replace("$app", role))


def truth(database: str, schema: str) -> dict[str, dict]:
    query = f"SELECT id, grp, note FROM {schema}.t"
    with connect(database) as connection:
        return {
            schema: rows(connection, query),
            f"{schema}/1": rows(connection, f"{query} WHERE id::text = '1'"),
            **{
                f"{schema}/groups/{n}": rows(connection, f"{query} WHERE grp = {n}")
                for n in (1, 2, 9)
            },
        }


@pytest.mark.parametrize("name", SEEN)
async def test_every_subscriber_holds_the_table(
    bridge: Running, database: str, role: str, name: str
) -> None:
    schema, _ = CASES[name]
    async with following(bridge.url, *truth(database, schema)) as replica:
        await asyncio.to_thread(perform, database, role, name)
        await replica.equals(truth(database, schema))
        assert replica.regressions == []


@pytest.mark.parametrize("name", UNSEEN)
async def test_no_write_fails(bridge: Running, database: str, role: str, name: str) -> None:
    await asyncio.to_thread(perform, database, role, name)
