"""The SQL that makes and drops the events of applications that have no table for them.

    events      one row per event, in a channel and numbered there from 1 on
    channels    the version of each channel: the number of its last event
    append()    adds events to a channel, all or none; publish() adds one

A channel's row in `channels` is locked by whoever appends to it, until its transaction
ends. So a channel's versions have no gaps, and are in the order of the commits; writers to
different channels do not wait for each other. The functions run as their owner: a role
that may run them needs no right to the tables.

Events are the application's. Nothing here drops one: `drop` leaves everything as it is
while there is an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bridge.records import digest
from bridge.steps import Step
from bridge.tables import Column, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bridge.config import Config
    from bridge.installed import Installed, InstalledFunction
    from bridge.tables import Name, Table

CONFLICT = "RC001"
"""SQLSTATE of an append that expected another version. Not 40001, which frameworks answer by
running the same transaction again: who expected a version has to look and decide anew."""

TABLES = frozenset({"events", "channels"})
FUNCTIONS = ("append", "publish")
ARGUMENTS = {"append": "text, jsonb, bigint", "publish": "text, jsonb, jsonb, text, bigint"}

_TABLES = sql.SQL(
    """\
CREATE TABLE IF NOT EXISTS {channels} (
    channel text PRIMARY KEY CHECK (octet_length(channel) BETWEEN 1 AND 1000),
    version bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS {events} (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    version bigint NOT NULL,
    event_type text NOT NULL CHECK (octet_length(event_type) BETWEEN 1 AND 200),
    "timestamp" timestamptz NOT NULL,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    UNIQUE (channel, version)
);
INSERT INTO {channels} SELECT channel, max(version) FROM {events} GROUP BY channel
ON CONFLICT (channel) DO NOTHING;
COMMENT ON TABLE {events} IS 'Rowcast: what applications have published; see rowcast.publish'"""
)

_COLUMNS = {
    "position": "int8",
    "channel": "text",
    "version": "int8",
    "event_type": "text",
    "timestamp": "timestamptz",
    "data": "jsonb",
    "metadata": "jsonb",
}

_SIGNATURES = {
    "append": "channel text, events jsonb, expected_version bigint DEFAULT NULL",
    "publish": "channel text, data jsonb, metadata jsonb DEFAULT '{}',"
    " event_type text DEFAULT 'event', expected_version bigint DEFAULT NULL",
}

_FUNCTION = sql.SQL(
    """\
CREATE OR REPLACE FUNCTION {function}({signature})
RETURNS TABLE ("position" bigint, version bigint, "timestamp" timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $rowcast${body}$rowcast$"""
)

# The time is taken under the lock, so that it grows with the version.
_APPEND = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    many int;
    place bigint;
    last bigint;
    moment timestamptz;
BEGIN
    IF append.channel IS NULL OR octet_length(append.channel) NOT BETWEEN 1 AND 1000 THEN
        RAISE 'a channel has a name of 1 to 1000 bytes, not of %',
            coalesce(octet_length(append.channel), 0) USING ERRCODE = '22023';
    END IF;
    IF jsonb_typeof(append.events) = 'array' THEN
        many := nullif(jsonb_array_length(append.events), 0);
    END IF;
    IF many IS NULL THEN
        RAISE 'events must be a JSON array of at least one event' USING ERRCODE = '22023';
    END IF;
    SELECT n INTO place FROM jsonb_array_elements(append.events) WITH ORDINALITY AS e (event, n)
    WHERE (CASE WHEN jsonb_typeof(event) = 'object' THEN
        event -> 'data' IS NULL
        OR octet_length(event ->> 'event_type') NOT BETWEEN 1 AND 200
        OR jsonb_typeof(event -> 'event_type') <> 'string'
        OR jsonb_typeof(event -> 'metadata') <> 'object'
        OR event - '{{event_type,data,metadata}}'::text[] <> '{{}}'
        ELSE true END)
    ORDER BY n LIMIT 1;
    IF place IS NOT NULL THEN
        RAISE 'event % of % is not one', place, many USING ERRCODE = '22023',
            HINT = 'It is an object of `data` (any JSON), `event_type` (text of 1 to 200 bytes)'
                ' and `metadata` (an object); all but `data` may be left out.';
    END IF;
    INSERT INTO {channels} AS c (channel, version) VALUES (append.channel, many)
    ON CONFLICT (channel) DO UPDATE SET version = c.version + excluded.version
    RETURNING c.version INTO last;
    IF append.expected_version <> last - many THEN
        RAISE 'channel % is at version %, not %',
            quote_literal(append.channel), last - many, append.expected_version
            USING ERRCODE = {conflict},
            HINT = 'Somebody else appended. Read what came since, and decide again.';
    END IF;
    moment := clock_timestamp();
    RETURN QUERY
    INSERT INTO {events} AS a (channel, version, event_type, "timestamp", data, metadata)
    SELECT append.channel, last - many + n, coalesce(event ->> 'event_type', 'event'), moment,
           event -> 'data', coalesce(event -> 'metadata', '{{}}')
    FROM jsonb_array_elements(append.events) WITH ORDINALITY AS e (event, n)
    ORDER BY n
    RETURNING a."position", a.version, a."timestamp";
END
"""
)

_PUBLISH = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
BEGIN
    IF publish.data IS NULL OR publish.metadata IS NULL OR publish.event_type IS NULL THEN
        RAISE 'data, metadata and event_type must not be NULL; JSON''s null is ''null''::jsonb'
            USING ERRCODE = '22004';
    END IF;
    RETURN QUERY SELECT * FROM {append}(publish.channel, jsonb_build_array(jsonb_build_object(
        'event_type', publish.event_type, 'data', publish.data, 'metadata', publish.metadata)),
        publish.expected_version);
END
"""
)
_SETTINGS = (("search_path", "pg_catalog, pg_temp"),)
_DROP_FUNCTION = sql.SQL("DROP FUNCTION IF EXISTS {}({})")
_BODIES = {"append": _APPEND, "publish": _PUBLISH}

# Somebody may publish between the look and the drop; both are under one lock.
_DROP = sql.SQL(
    """\
DO $rowcast$ BEGIN
    IF to_regclass({name}) IS NOT NULL THEN
        LOCK TABLE {events} IN ACCESS EXCLUSIVE MODE;
        IF EXISTS (SELECT FROM {events}) THEN
            RAISE NOTICE '% stays, for it holds events', {name};
            RETURN;
        END IF;
    END IF;
    {publish};
    {append};
    DROP TABLE IF EXISTS {events}, {channels};
END $rowcast$"""
)


def wanted(tables: Iterable[Table], schema: str) -> bool:
    """Whether one of these is the events' own."""
    return any((table.schema, table.relation) == (schema, "events") for table in tables)


def steps(schema: str, installed: Installed, *, wanted: bool) -> Iterator[Step]:
    """What brings the store to be there and right, or, unless it holds events, not to be."""
    found = installed.events
    if wanted and found.tables != TABLES:
        missing = "channels" if "events" in found.tables else "events"
        finding = f"{schema}.{missing} is missing"
        yield Step(schema, finding, "create events", create(schema), undo=(drop(schema),))
    elif wanted:
        known = {one.name: one for one in found.functions}
        yield from filter(None, (_mend(schema, name, known.get(name)) for name in FUNCTIONS))
    elif found and not found.published:
        finding = f"{schema}.events is not used"
        yield Step(schema, finding, "drop events", (drop(schema),), undo=create(schema))


def left(schema: str, installed: Installed) -> str | None:
    """What to say of events that stay where no config asks for them."""
    if not installed.events.published:
        return None
    return (
        f"{schema}.events stays, for it may hold events, and so does {schema}.publish();"
        f" once they are not needed, TRUNCATE {schema}.events and run this again"
    )


def _mend(schema: str, name: str, found: InstalledFunction | None) -> Step | None:
    wanted = digest(body(schema, name), _SETTINGS)
    if found and found.security_definer and digest(found.body, found.settings) == wanted:
        return None
    finding = f"function {name} is {'not what it should be' if found else 'missing'}"
    undo = found.definition if found else (_drop_function(schema, name),)
    return Step(schema, finding, f"replace function {name}", function(schema, name), undo=undo)


def create(schema: str) -> tuple[str, ...]:
    """Statements that make the tables and the functions."""
    tables = _TABLES.format(**_parts(schema)).as_string(None)
    return (tables, *(text for name in FUNCTIONS for text in function(schema, name)))


def function(schema: str, name: str) -> tuple[str, ...]:
    """Statements that create or replace one of `FUNCTIONS`. Who may run it stays so."""
    identifier = sql.Identifier(schema, name)
    make = _FUNCTION.format(
        function=identifier,
        signature=sql.SQL(_SIGNATURES[name]),
        body=sql.SQL(body(schema, name)),
    )
    revoke = sql.SQL("REVOKE ALL ON FUNCTION {}({}) FROM PUBLIC")
    closed = revoke.format(identifier, sql.SQL(ARGUMENTS[name]))
    return make.as_string(None), closed.as_string(None)


def body(schema: str, name: str) -> str:
    """What `pg_proc.prosrc` will hold."""
    return _BODIES[name].format(**_parts(schema)).as_string(None)


def drop(schema: str) -> str:
    """Drops all of it, unless there is an event."""
    functions = {name: sql.SQL(_drop_function(schema, name)) for name in FUNCTIONS}
    return _DROP.format(**_parts(schema) | functions).as_string(None)


def promised(config: Config, found: Mapping[Name, Relation | None]) -> dict[Name, Relation | None]:
    """What the catalog has, and the events' table where only a migration will make it."""
    place = (config.schema, "events")
    missing = config.events and found.get(place) is None
    return {**found, **({place: relation(config.schema)} if missing else {})}


def relation(schema: str) -> Relation:
    """What the catalog will say of `events` once it is there; its oid is 0."""
    return Relation(
        oid=0,
        schema=schema,
        name="events",
        kind="r",
        owner="",
        is_partition=False,
        row_security=False,
        columns=tuple(Column(name, f"pg_catalog.{base}", base) for name, base in _COLUMNS.items()),
        primary_key=("position",),
        unique=(("position",), ("channel", "version")),
        foreign_keys=(),
    )


def _drop_function(schema: str, name: str) -> str:
    identifier, arguments = sql.Identifier(schema, name), sql.SQL(ARGUMENTS[name])
    return _DROP_FUNCTION.format(identifier, arguments).as_string(None)


def _parts(schema: str) -> dict[str, sql.Composable]:
    events = sql.Identifier(schema, "events")
    return {
        "events": events,
        "name": sql.Literal(events.as_string(None)),
        "channels": sql.Identifier(schema, "channels"),
        "append": sql.Identifier(schema, "append"),
        "conflict": sql.Literal(CONFLICT),
    }
