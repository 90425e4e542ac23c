"""Published events: what SQL clients can do with them, and what migrations do to them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from bridge import catalog, event_store, history, migrate, revisions
from bridge import config as config_file
from bridge.drift import drift as found_drift
from bridge.inspection import Finding, inspect
from tests.support import connect
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection

    from bridge.config import Config


def configured(database: str, text: str = "events: true\n") -> Config:
    return config_file.loads(f"{text}tables: {{t: }}\n", env={"DATABASE_URL": database})


@pytest.fixture
def settings(database: str, connection: Connection) -> Config:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    return configured(database)


@pytest.fixture
def store(settings: Config, connection: Connection) -> Connection:
    """A connection to a database with events."""
    apply(settings)
    return connection


def apply(settings: Config, versions: Path | None = None) -> list[str]:
    lines: list[str] = []
    migrate.apply(settings, progress=lines.append, versions=versions)
    return lines


def found(settings: Config) -> list[Finding]:
    """Beside whom functions run as."""
    return [finding for finding in inspect(settings) if finding.about != "definer"]


def drift(settings: Config, connection: Connection) -> list[str]:
    tables = catalog.resolved(connection, settings)
    return [one.message for one in found_drift(connection, settings, tables)]


def publish(connection: Connection, *arguments: Any) -> tuple[int, int]:
    """Returns (position, version)."""
    row = connection.execute(
        f"SELECT * FROM rowcast.publish({', '.join(['%s'] * len(arguments))})", arguments
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def append(
    connection: Connection, channel: str | None, events: Any, expected: int | None = None
) -> list[tuple[int, int]]:
    rows = connection.execute(
        "SELECT position, version FROM rowcast.append(%s, %s, %s)",
        (channel, json.dumps(events), expected),
    )
    return rows.fetchall()


def versions_of(connection: Connection, channel: str) -> list[int]:
    query = "SELECT version FROM rowcast.events WHERE channel = %s ORDER BY position"
    return [version for (version,) in connection.execute(query, (channel,))]


# What a client can do.


def test_an_event_is_published_with_what_was_said_of_it(store: Connection) -> None:
    at = store.execute("SELECT clock_timestamp()").fetchone()
    assert publish(store, "orders/1", '{"total": 1.50}') == (1, 1)
    assert publish(store, "orders/1", "null", '{"user": "ö"}', "paid") == (2, 2)
    assert store.execute(
        "SELECT position, channel, version, event_type, timestamp > %s, data::text, metadata"
        " FROM rowcast.events ORDER BY position",
        at,
    ).fetchall() == [
        (1, "orders/1", 1, "event", True, '{"total": 1.50}', {}),
        (2, "orders/1", 2, "paid", True, "null", {"user": "ö"}),
    ]


def test_many_are_appended_in_order_at_one_moment(store: Connection) -> None:
    publish(store, "a", "1")
    written = append(store, "a", [{"data": n, "event_type": f"t{n}"} for n in range(100)])
    assert written == [(n, n) for n in range(2, 102)]
    rows = "SELECT event_type FROM rowcast.events WHERE version > 1 ORDER BY version"
    assert [name for (name,) in store.execute(rows)] == [f"t{n}" for n in range(100)]
    moments = "SELECT count(DISTINCT timestamp) FROM rowcast.events WHERE version > 1"
    assert store.execute(moments).fetchone() == (1,)


def test_a_large_event_is_as_good_as_a_small_one(store: Connection) -> None:
    large = json.dumps({"text": "é" * 1_000_000})
    publish(store, "a", large)
    found = store.execute("SELECT octet_length(data ->> 'text') FROM rowcast.events").fetchone()
    assert found == (2_000_000,)


def test_what_is_rolled_back_leaves_no_gap_in_a_channel(store: Connection) -> None:
    publish(store, "a", "1")
    with store.transaction(force_rollback=True):
        publish(store, "a", "2")
        publish(store, "new", "1")
    with store.transaction():
        publish(store, "a", "2")
        with store.transaction(force_rollback=True):
            append(store, "a", [{"data": 3}, {"data": 4}])
        publish(store, "a", "3")
    publish(store, "new", "1")
    assert versions_of(store, "a") == [1, 2, 3]
    assert versions_of(store, "new") == [1]


def test_an_expected_version_is_met_or_refused(store: Connection) -> None:
    assert append(store, "a", [{"data": 1}, {"data": 2}], 0) == [(1, 1), (2, 2)]
    assert append(store, "a", [{"data": 3}], 2) == [(3, 3)]
    for expected in (0, 2, 4, -1):
        with pytest.raises(psycopg.DatabaseError) as caught:
            append(store, "a", [{"data": 4}], expected)
        assert caught.value.sqlstate == event_store.CONFLICT == "RC001"
        message = caught.value.diag.message_primary
        assert message == f"channel 'a' is at version 3, not {expected}"
    with pytest.raises(psycopg.DatabaseError, match="'b' is at version 0, not 1"):
        publish(store, "b", "1", "{}", "event", 1)
    assert versions_of(store, "a") == [1, 2, 3]


BAD = [
    ("SELECT rowcast.publish(NULL, '1')", "a channel has a name of 1 to 1000 bytes, not of 0"),
    ("SELECT rowcast.publish('', '1')", "not of 0"),
    ("SELECT rowcast.publish(repeat('é', 501), '1')", "not of 1002"),
    ("SELECT rowcast.publish('a', NULL)", "must not be NULL; JSON's null is 'null'::jsonb"),
    ("SELECT rowcast.publish('a', '1', NULL)", "must not be NULL"),
    ("SELECT rowcast.publish('a', '1', '{}', NULL)", "must not be NULL"),
    ("SELECT rowcast.publish('a', '1', '{}', '')", "event 1 of 1 is not one"),
    ("SELECT rowcast.publish('a', '1', '{}', repeat('a', 201))", "event 1 of 1 is not one"),
    ("SELECT rowcast.publish('a', '1', '[]')", "event 1 of 1 is not one"),
    ("SELECT rowcast.publish('a', '{')", "invalid input syntax for type json"),
    ("SELECT rowcast.append('a', NULL)", "a JSON array of at least one event"),
    ("SELECT rowcast.append('a', '[]')", "a JSON array of at least one event"),
    ("""SELECT rowcast.append('a', '{"data": 1}')""", "a JSON array of at least one event"),
    ("""SELECT rowcast.append('a', '[{"data": 1}, 7]')""", "event 2 of 2 is not one"),
    ("""SELECT rowcast.append('a', '[{"data": 1}, null]')""", "event 2 of 2 is not one"),
    ("SELECT rowcast.append('a', '[{}]')", "event 1 of 1 is not one"),
    ("""SELECT rowcast.append('a', '[{"data": 1, "typ": "a"}]')""", "event 1 of 1 is not one"),
    ("""SELECT rowcast.append('a', '[{"data": 1, "event_type": 1}]')""", "event 1 of 1"),
    ("""SELECT rowcast.append('a', '[{"data": 1, "event_type": null}]')""", "event 1 of 1"),
    ("""SELECT rowcast.append('a', '[{"data": 1, "metadata": "x"}]')""", "event 1 of 1"),
]


@pytest.mark.parametrize(("statement", "message"), BAD)
def test_what_is_no_event_is_refused(store: Connection, statement: str, message: str) -> None:
    with pytest.raises(psycopg.DataError) as caught:
        store.execute(statement)
    assert message in str(caught.value)
    assert store.execute("SELECT count(*) FROM rowcast.events").fetchone() == (0,)
    assert store.execute("SELECT count(*) FROM rowcast.channels").fetchone() == (0,)


def test_versions_of_a_channel_have_no_gap_whoever_writes_to_it(
    store: Connection, database: str
) -> None:
    def write(writer: int) -> int:
        done = 0
        with connect(database) as connection:
            for n in range(60):
                with connection.transaction(force_rollback=n % 5 == writer % 5):
                    append(connection, f"c{n % 3}", [{"data": writer}] * (1 + n % 2))
                done += 0 if n % 5 == writer % 5 else 1 + n % 2
        return done

    with ThreadPoolExecutor(8) as pool:
        expected = sum(pool.map(write, range(8)))
    found = [versions_of(store, f"c{n}") for n in range(3)]
    assert all(versions == list(range(1, len(versions) + 1)) for versions in found)
    assert sum(map(len, found)) == expected
    moments = "SELECT timestamp FROM rowcast.events WHERE channel = 'c0' ORDER BY version"
    assert all(a <= b for a, b in pairwise(store.execute(moments).fetchall()))


def test_of_two_who_expect_the_same_version_one_is_told(store: Connection, database: str) -> None:
    def attempt(_: int) -> str | None:
        with connect(database) as connection:
            try:
                publish(connection, "a", "1", "{}", "event", 0)
            except psycopg.DatabaseError as error:
                return error.sqlstate
        return None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(map(str, pool.map(attempt, range(8)))) == ["None", *["RC001"] * 7]


def test_writers_to_other_channels_do_not_wait(store: Connection, admin: Connection) -> None:
    admin.execute("SET lock_timeout = '100ms'")
    with store.transaction():
        publish(store, "a", "1")
        assert publish(admin, "b", "1") == (2, 1)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            publish(admin, "a", "1")
    assert publish(admin, "a", "1")[1] == 2


def test_a_snapshot_too_old_is_told_to_try_again(store: Connection, admin: Connection) -> None:
    publish(store, "a", "1")
    admin.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with admin.transaction():
        admin.execute("SELECT count(*) FROM rowcast.events")
        publish(store, "a", "2")
        with pytest.raises(psycopg.errors.SerializationFailure):
            publish(admin, "a", "3")


# Who may.


@pytest.fixture
def application(store: Connection, database: str) -> Any:
    role = f"app_{database.rpartition('/')[2][:20]}"[:40]
    store.execute(f"CREATE ROLE {role}")
    try:
        with connect(database) as connection:
            connection.execute(f"SET ROLE {role}")
            yield connection, role
    finally:
        store.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_may_run_the_functions_needs_nothing_else(
    store: Connection, application: tuple[Connection, str]
) -> None:
    connection, role = application
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        publish(connection, "a", "1")
    store.execute(f"GRANT USAGE ON SCHEMA rowcast TO {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        publish(connection, "a", "1")
    store.execute(f"GRANT EXECUTE ON FUNCTION rowcast.publish, rowcast.append TO {role}")
    assert publish(connection, "a", "1") == (1, 1)
    assert append(connection, "a", [{"data": 1}]) == [(2, 2)]
    for statement in (
        "SELECT FROM rowcast.events",
        "DELETE FROM rowcast.events",
        "INSERT INTO rowcast.channels VALUES ('a', 9)",
        "SELECT nextval('rowcast.events_position_seq')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_objects_of_the_caller_are_not_what_the_functions_use(
    store: Connection, application: tuple[Connection, str]
) -> None:
    connection, role = application
    store.execute(f"GRANT USAGE ON SCHEMA rowcast TO {role}; CREATE SCHEMA evil")
    store.execute(f"GRANT EXECUTE ON FUNCTION rowcast.publish, rowcast.append TO {role}")
    store.execute(f"GRANT ALL ON SCHEMA evil TO {role}")
    connection.execute(
        "CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'as %%', current_user; END $$;"
        "CREATE FUNCTION evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'as %%', current_user; END $$;"
        "CREATE TEMP TABLE events (position int); CREATE TEMP TABLE channels (channel text);"
        "SET search_path = evil, pg_temp, pg_catalog".replace("%%", "%")
    )
    assert publish(connection, "a", "1") == (1, 1)


# What migrations do.


def test_the_table_is_what_is_promised_before_it_is_there(
    settings: Config, store: Connection
) -> None:
    place = ("rowcast", "events")
    found = catalog.read(store, [place])[place]
    promised = event_store.relation("rowcast")
    assert found is not None
    assert (found.columns, found.primary_key) == (promised.columns, promised.primary_key)
    assert set(found.unique) == set(promised.unique)


def test_it_is_planned_made_and_removed(settings: Config, connection: Connection) -> None:
    before = fingerprint(connection)
    summaries = [step.summary for step in migrate.plan(settings)]
    assert "create events" in summaries
    assert 'CREATE TABLE IF NOT EXISTS "rowcast"."events"' in migrate.script(settings)
    assert "rowcast: create events" in apply(settings)
    assert drift(settings, connection) == []
    assert not migrate.plan(settings)
    assert found(settings) == []
    migrate.remove(settings, progress=lambda _: None)
    assert fingerprint(connection) == before


def test_the_script_makes_it_too(settings: Config, connection: Connection) -> None:
    connection.execute(migrate.script(settings))
    assert publish(connection, "a", "1") == (1, 1)
    assert drift(settings, connection) == []


def test_without_it_in_the_config_an_empty_one_goes(
    settings: Config, connection: Connection, database: str
) -> None:
    without = configured(database, "")
    apply(without)
    before = fingerprint(connection)
    apply(settings)
    assert "rowcast.events is not used" in drift(without, connection)
    assert "rowcast: drop events" in apply(without)
    assert fingerprint(connection) == before


def test_events_are_never_thrown_away(settings: Config, store: Connection, database: str) -> None:
    publish(store, "a", "1")
    without = configured(database, "")
    stays = "rowcast.events stays, for it may hold events"
    assert any(stays in line for line in apply(without))
    assert drift(without, store) == []
    (advice,) = found(without)
    assert stays in advice.message
    assert not advice.grave
    assert migrate.left(without) == [advice.message]
    lines: list[str] = []
    migrate.remove(settings, progress=lines.append)
    assert any(stays in line for line in lines)
    assert publish(store, "a", "2")[1] == 2  # it goes on working, unheard
    assert not any(stays in line for line in apply(settings))
    assert publish(store, "a", "3")[1] == 3
    store.execute("TRUNCATE rowcast.events")
    migrate.remove(settings, progress=lambda _: None)
    assert store.execute("SELECT to_regnamespace('rowcast')").fetchone() == (None,)


def test_what_is_published_while_it_is_dropped_stays(store: Connection) -> None:
    drop = event_store.drop("rowcast")
    publish(store, "a", "1")
    store.execute(drop)
    assert versions_of(store, "a") == [1]
    store.execute("DELETE FROM rowcast.events")
    with store.transaction(force_rollback=True):
        store.execute("DROP TRIGGER IF EXISTS x ON rowcast.events")
        store.execute(drop)
        assert store.execute("SELECT to_regclass('rowcast.events')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DROP FUNCTION rowcast.publish", "function publish is missing"),
        (
            "ALTER FUNCTION rowcast.append SECURITY INVOKER",
            "function append is not what it should be",
        ),
        ("ALTER FUNCTION rowcast.append RESET ALL", "function append is not what it should be"),
        (
            "DROP TABLE rowcast.channels",
            "rowcast.channels is missing",
        ),
    ],
)
def test_damage_is_found_and_mended(
    settings: Config, store: Connection, damage: str, finding: str
) -> None:
    publish(store, "a", "1")
    store.execute(damage)
    assert drift(settings, store) == [finding]
    apply(settings)
    assert drift(settings, store) == []
    assert publish(store, "a", "2")[1] == 2


def test_who_may_publish_may_still_after_a_function_was_replaced(
    settings: Config, store: Connection, application: tuple[Connection, str]
) -> None:
    connection, role = application
    store.execute(f"GRANT USAGE ON SCHEMA rowcast TO {role}")
    store.execute(f"GRANT EXECUTE ON FUNCTION rowcast.publish TO {role}")
    store.execute("ALTER FUNCTION rowcast.publish SET jit = off")
    apply(settings)
    assert publish(connection, "a", "1") == (1, 1)


def test_a_revision_makes_it_and_takes_it_back(
    settings: Config, connection: Connection, tmp_path: Path
) -> None:
    from alembic import command

    apply(configured(settings.database, ""))
    before = fingerprint(connection)
    assert revisions.write(settings, "events", tmp_path)
    apply(settings, tmp_path)
    assert publish(connection, "a", "1") == (1, 1)
    assert drift(settings, connection) == []
    connection.execute("DELETE FROM rowcast.events")
    command.downgrade(history.alembic_config(settings, versions=tmp_path), "0001")
    after = fingerprint(connection)
    assert {row for row in after ^ before if "alembic" not in str(row)} == set()


def test_another_table_called_events_is_served_under_another_name(
    settings: Config, connection: Connection, database: str
) -> None:
    connection.execute("CREATE TABLE events (id int PRIMARY KEY)")
    text = "events: true\ntables: {audit: {table: events}}\n"
    both = config_file.loads(text, env={"DATABASE_URL": database})
    apply(both)
    tables = catalog.resolved(connection, both)
    assert (tables["audit"].schema, tables["events"].schema) == ("public", "rowcast")


def test_the_role_that_serves_only_reads_events(
    settings: Config, store: Connection, database: str
) -> None:
    role = f"serve_{database.rpartition('/')[2][:20]}"
    store.execute(f"CREATE ROLE {role}")
    try:
        store.execute(migrate.grants(settings, role).encode())
        served = configured(make_conninfo(database, options=f"-c role={role}"))
        assert found(served) == []
        with connect(served.database) as connection:
            assert connection.execute("SELECT count(*) FROM rowcast.events").fetchone() == (0,)
            for statement in ("TRUNCATE rowcast.events", "SELECT rowcast.publish('a', '1')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
    finally:
        store.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
