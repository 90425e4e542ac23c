"""What is read from a real catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge import catalog, inventory
from bridge.errors import CatalogError
from bridge.installed import Installed
from tests.support.capture import config, entry, watch

if TYPE_CHECKING:
    from psycopg import Connection


def only(connection: Connection, name: str, schema: str | None = None) -> catalog.Relation:
    found = catalog.read(connection, [(schema, name)])[schema, name]
    assert found is not None
    return found


def test_columns_and_their_types(connection: Connection) -> None:
    connection.execute(
        "CREATE SCHEMA types; CREATE TYPE types.mood AS ENUM ('ok');"
        "CREATE DOMAIN types.small AS int2; CREATE DOMAIN types.smaller AS types.small NOT NULL;"
        "CREATE TABLE t (a int, b varchar(3) NOT NULL, c char(4), d numeric(6,2)[], e types.mood,"
        ' f types.smaller, g "char", h timestamptz(0), gone int,'
        " i int GENERATED ALWAYS AS (a + 1) STORED); ALTER TABLE t DROP gone"
    )
    columns = only(connection, "t").columns
    assert [(c.name, c.type, c.base, c.builtin, c.not_null) for c in columns] == [
        ("a", "pg_catalog.int4", "int4", True, False),
        ("b", 'pg_catalog."varchar"', "varchar", True, True),
        ("c", "pg_catalog.bpchar", "bpchar", True, False),
        ("d", "pg_catalog._numeric", "_numeric", True, False),
        ("e", "types.mood", "mood", False, False),
        ("f", "types.smaller", "int2", True, False),
        ("g", 'pg_catalog."char"', "char", True, False),
        ("h", "pg_catalog.timestamptz", "timestamptz", True, False),
        ("i", "pg_catalog.int4", "int4", True, False),
    ]


def test_the_search_path_decides_where_no_schema_is_given(connection: Connection) -> None:
    connection.execute(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE b.t (id int); CREATE TABLE a.t (id int);"
        "SET search_path = b, a"
    )
    assert only(connection, "t").schema == "b"
    assert only(connection, "t", "a").schema == "a"
    assert catalog.read(connection, [(None, "T"), ("a", "x"), ("x", "t")]) == {
        (None, "T"): None,
        ("a", "x"): None,
        ("x", "t"): None,
    }


@pytest.mark.parametrize("name", ["Mixed", 'qu"ote', "do.t", "é😀", "n" * 63, "'; --"])
def test_names_are_exact(connection: Connection, name: str) -> None:
    connection.execute('CREATE TABLE "' + name.replace('"', '""') + '" (id int)')
    assert only(connection, name).name == name
    assert catalog.read(connection, [(None, name + "n")]) == {(None, name + "n"): None}


def test_unique_sets(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int, d int PRIMARY KEY,"
        " UNIQUE (b, a), UNIQUE (c), UNIQUE (a) DEFERRABLE);"
        "CREATE UNIQUE INDEX ON t (b) WHERE a > 0; CREATE UNIQUE INDEX ON t ((a + 1));"
        "CREATE UNIQUE INDEX ON t (a, d) INCLUDE (c); CREATE INDEX ON t (a)"
    )
    found = only(connection, "t")
    assert found.primary_key == ("d",)
    assert found.unique == (("d",), ("b", "a"), ("a", "d"))


def test_an_index_that_failed_to_build_is_no_key(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int NOT NULL); INSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY ON t (a)")
    assert only(connection, "t").unique == ()


def test_foreign_keys(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE parent (a int, b int, PRIMARY KEY (b, a));"
        "CREATE TABLE child (x int, y int, FOREIGN KEY (x, y) REFERENCES parent (a, b))"
    )
    parent, child = only(connection, "parent"), only(connection, "child")
    (key,) = child.foreign_keys
    assert (key.columns, key.target, key.target_columns) == (("x", "y"), parent.oid, ("a", "b"))


def test_kinds(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE r (id int); CREATE TABLE p (id int) PARTITION BY LIST (id);"
        "CREATE TABLE leaf PARTITION OF p DEFAULT; CREATE VIEW v AS SELECT 1;"
        "CREATE MATERIALIZED VIEW m AS SELECT 1; CREATE SEQUENCE s; CREATE TEMP TABLE tmp (id int)"
    )
    assert [only(connection, name).kind for name in "rpvm"] == list("rpvm")
    assert only(connection, "leaf").is_partition
    assert catalog.read(connection, [(None, "s")])[None, "s"] is None
    assert [relation.name for relation in catalog.relations(connection)] == ["p", "r"]


def test_relations_of_an_extension_are_not_the_users(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (id int); CREATE TABLE theirs (id int)")
    connection.execute("ALTER EXTENSION plpgsql ADD TABLE theirs")
    assert [relation.name for relation in catalog.relations(connection)] == ["t"]


PARTS = """
CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
CREATE TABLE p (id int, a int, b int REFERENCES b ON UPDATE CASCADE) PARTITION BY LIST (id);
CREATE TABLE one PARTITION OF p FOR VALUES IN (1);
CREATE TABLE rest PARTITION OF p DEFAULT;
"""


@pytest.mark.parametrize(
    ("action", "direct"), [("", False), ("ON UPDATE CASCADE", True), ("ON DELETE SET NULL", True)]
)
def test_a_foreign_key_of_one_partition(connection: Connection, action: str, direct: bool) -> None:
    connection.execute(f"{PARTS} ALTER TABLE one ADD FOREIGN KEY (a) REFERENCES a {action}")
    found = {key.columns: key.direct for key in only(connection, "p").foreign_keys}
    assert found == {("a",): direct, ("b",): False}


def test_sizes_without_statistics_are_counted_so_far(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE r (id int);"
        "CREATE TABLE leaf PARTITION OF p DEFAULT;"
        "INSERT INTO p SELECT generate_series(1, 300); INSERT INTO r SELECT generate_series(1, 70)"
    )
    oids = {name: only(connection, name).oid for name in "pr"}
    assert catalog.sizes(connection, oids.values(), most=200) == {oids["p"]: 200, oids["r"]: 70}
    connection.execute("ANALYZE")
    assert catalog.sizes(connection, oids.values(), most=200) == {oids["p"]: 300, oids["r"]: 70}


def test_a_column_computed_on_reading(connection: Connection) -> None:
    if connection.info.server_version < 180000:
        pytest.skip("virtual columns came with PostgreSQL 18")
    connection.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int, v int GENERATED ALWAYS AS (n * 2))"
    )
    assert [column.virtual for column in only(connection, "t").columns] == [False, False, True]
    with pytest.raises(CatalogError, match="use a stored column"):
        catalog.resolved(connection, config(entry("t", topics=("t/{v}",))))


def test_a_suggestion_from_another_schema(connection: Connection) -> None:
    connection.execute("CREATE SCHEMA billing; CREATE TABLE billing.orders (id int PRIMARY KEY)")
    with pytest.raises(CatalogError, match=r"did you mean billing\.orders"):
        catalog.resolved(connection, config(entry("orders")))


def test_nothing_is_installed(connection: Connection) -> None:
    assert inventory.installed(connection, "rowcast") == Installed()


def test_what_is_installed(connection: Connection) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    watch(connection, entry("orders"))
    connection.execute(
        "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER rowcast_mine AFTER INSERT ON orders EXECUTE FUNCTION mine()"
    )
    found = inventory.installed(connection, "rowcast")
    assert (found.schema, found.epoch) == (True, False)
    assert len(found.triggers) == 4
    (function,) = found.functions
    assert function.comment.startswith('rowcast: {"format": 2, "table": "orders", "sha256": "')
    assert function.settings == {("search_path", "pg_catalog, pg_temp"), ("jit", "off")}
    assert inventory.installed(connection, "row_ast").triggers == ()


def test_facts(connection: Connection) -> None:
    facts = catalog.facts(connection)
    assert facts.version_number == connection.info.server_version
    assert (facts.in_recovery, facts.encoding, facts.queue_usage) == (False, "UTF8", 0)


def test_privileges(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE t (a int, b int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        "CREATE ROLE reader; GRANT SELECT (a) ON t TO reader"
    )
    oid = only(connection, "t").oid
    try:
        connection.execute("SET ROLE reader")
        (rights,) = catalog.privileges(connection, [oid]).values()
        connection.execute("RESET ROLE")
        (owner,) = catalog.privileges(connection, [oid]).values()
    finally:
        connection.execute("RESET ROLE; DROP OWNED BY reader; DROP ROLE reader")
    assert (rights.owns, rights.reads, rights.columns) == (False, False, ("a",))
    assert (rights.enters, rights.filtered) == (True, True)
    assert (owner.owns, owner.reads, owner.filtered) == (True, True, False)


FOREIGN_CHILD = """
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE near () INHERITS (t);
CREATE FOREIGN TABLE away () INHERITS (near) SERVER far;
"""


def test_a_foreign_child_would_fail_writes_and_is_refused(connection: Connection) -> None:
    connection.execute(FOREIGN_CHILD)
    with pytest.raises(CatalogError, match=r"foreign table among its children.*`trigger: row`"):
        catalog.resolved(connection, config(entry("t")))
    assert catalog.resolved(connection, config(entry("t", trigger="row")))
