"""The SQL that makes and drops the stores: where changes are kept, and log rows numbered.

A store is a table in as many slots, partitions that are used in turn. The oldest is
emptied by TRUNCATE before it is written to again, so pruning leaves no dead row and locks
nothing that a writer needs. Which slot is written to is the value of a sequence, because
that is the same for everybody at once: under REPEATABLE READ a table would be read as it
was.

    NAME            the store; NAME_0 … its slots, NAME_rest for what is in none of them
    NAME_seq        numbers its rows; NAME_slot counts the slots that were begun
    NAME_about      one row: the identity of this history, what was pruned of it, and since
                    when the slot is written to

The identity of `changes` is in an UNLOGGED table. A crash, a failover or a restored backup
empties it, and a new identity is what makes old cursors void: transaction numbers that were
lost are given again. Places in `log` outlive a crash, and so does its identity.

`audit` is what `bridge.audit` writes. Nobody reads on in it, so nothing is asked of its
identity, and nothing noted of what was pruned: it begins with its oldest row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from bridge.changes import STORES as CHANGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.tables import Table

SLOTS = 8

STORES = (*CHANGED, "audit")

_WHO = """source text NOT NULL,
    op text NOT NULL,
    key text,
    changed text[],
    old jsonb,
    new jsonb,
    login text NOT NULL DEFAULT session_user,
    role text NOT NULL DEFAULT coalesce(
        nullif(pg_catalog.current_setting('role'), 'none'), session_user),
    actor text DEFAULT nullif(
        pg_catalog."left"(pg_catalog.current_setting('rowcast.actor', true), 200), ''),
    application text DEFAULT nullif(pg_catalog.current_setting('application_name'), ''),
    fault text"""
_COLUMNS = {
    "changes": "payload text NOT NULL",
    "log": "source text NOT NULL, key text NOT NULL",
    "audit": _WHO,
}
# A clock is wanted of the log and the changes; of what was done, when its transaction began.
_AT = {"audit": "transaction_timestamp"}
_INDEXES = {
    "changes": ("(xid)",),
    "log": ("(seq)", "(source, key)"),
    "audit": ("(source, key)", "USING brin (at)"),
}
_KEPT = {"changes": "UNLOGGED ", "log": "", "audit": ""}
_PRUNED = {"changes": "xid8", "log": "bigint", "audit": "bigint"}
_COMMENTS = {
    "changes": "kept for `retention`",
    "log": "kept for `retention`",
    "audit": "who did what; kept for `audit_retention`",
}

_TABLE = sql.SQL(
    """\
CREATE SEQUENCE {seq};
CREATE SEQUENCE {slot} MINVALUE 0;
CREATE TABLE {store} (
    slot int NOT NULL,
    seq bigint NOT NULL DEFAULT pg_catalog.nextval({seq_name}),
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT pg_catalog.{at}(),
    {columns}
) PARTITION BY LIST (slot);
ALTER SEQUENCE {seq} OWNED BY {store}.seq;
ALTER SEQUENCE {slot} OWNED BY {store}.slot;
CREATE TABLE {rest} PARTITION OF {store} DEFAULT;
{slots}{indexes}CREATE {kept}TABLE {about} (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
    pruned {pruned},
    began timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
INSERT INTO {about} DEFAULT VALUES;
COMMENT ON TABLE {store} IS {comment}"""
)
_SLOT = sql.SQL("CREATE TABLE {leaf} PARTITION OF {store} FOR VALUES IN ({n});\n")
_INDEX = sql.SQL("CREATE INDEX ON {store} {columns};\n")
_DROP = sql.SQL("DROP TABLE IF EXISTS {store}, {about}")

# Somebody may write between the look and the drop; both are under one lock.
_DROP_EMPTY = sql.SQL(
    """\
DO $rowcast$ BEGIN
    IF to_regclass({store_name}) IS NULL THEN
        RETURN;
    END IF;
    LOCK TABLE {store} IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM {store}) THEN
        RAISE NOTICE '% stays, for it holds what was audited', {store_name};
    ELSE
        DROP TABLE {store}, {about};
    END IF;
END $rowcast$"""
)


def needed(tables: Iterator[Table]) -> set[str]:
    """The stores that these tables' triggers write to."""
    found = set()
    for table in tables:
        found |= {"changes"} if table.durable else set()
        found |= {"log"} if table.log else set()
        found |= {"audit"} if table.audit else set()
    return found


def create(schema: str, store: str) -> str:
    """Makes one of `STORES`, all of it or nothing."""
    assert store in STORES
    parts = _parts(schema, store)
    slots = [_SLOT.format(**parts, leaf=leaf(schema, store, n), n=n) for n in range(SLOTS)]
    indexes = [_INDEX.format(**parts, columns=sql.SQL(columns)) for columns in _INDEXES[store]]
    return _TABLE.format(
        **parts,
        columns=sql.SQL(_COLUMNS[store]),
        at=sql.SQL(_AT.get(store, "clock_timestamp")),
        comment=sql.Literal(f"Rowcast: {_COMMENTS[store]}; written by triggers alone"),
        kept=sql.SQL(_KEPT[store]),
        pruned=sql.SQL(_PRUNED[store]),
        slots=sql.SQL("").join(slots),
        indexes=sql.SQL("").join(indexes),
    ).as_string(None)


def drop(schema: str, store: str) -> str:
    """Drops it with everything it holds; the sequences are its own. What was audited is not
    the bridge's to drop: as long as there is any, all of it stays."""
    statement = _DROP_EMPTY if store == "audit" else _DROP
    return statement.format(**_parts(schema, store)).as_string(None)


def relation(schema: str, store: str) -> sql.Identifier:
    return sql.Identifier(schema, store)


def about(schema: str, store: str) -> sql.Identifier:
    return sql.Identifier(schema, f"{store}_about")


def leaf(schema: str, store: str, n: int) -> sql.Identifier:
    """One of its slots."""
    return sql.Identifier(schema, f"{store}_{n}")


def relations(schema: str, store: str) -> list[sql.Identifier]:
    """Every table of it. The sequences are its own and go where it goes."""
    names = [store, f"{store}_rest", *(f"{store}_{n}" for n in range(SLOTS)), f"{store}_about"]
    return [sql.Identifier(schema, name) for name in names]


def writable(schema: str, store: str) -> sql.Composed:
    """SQL for whether the function's owner may still write there; null where there is nothing
    to write to. Rights can get lost, in a dump without them say, and no write may fail by it:
    so the schema is asked about first, for to look a table up in a closed one fails."""
    return sql.SQL(
        "(CASE WHEN has_schema_privilege(to_regnamespace({})::oid, 'USAGE')"
        " THEN has_table_privilege(to_regclass({})::oid, 'INSERT') END)"
    ).format(
        sql.Literal(sql.Identifier(schema).as_string(None)),
        sql.Literal(relation(schema, store).as_string(None)),
    )


def may_write(schema: str, store: str) -> sql.Composed:
    """The same for a third of the time, as names are looked up once a session, to be asked under a
    guard: it fails where there is nothing to write to, or where that may not be looked up."""
    return sql.SQL(
        "has_schema_privilege({}::pg_catalog.regnamespace, 'USAGE')"
        " AND has_table_privilege({}::pg_catalog.regclass, 'INSERT')"
    ).format(
        sql.Literal(sql.Identifier(schema).as_string(None)),
        sql.Literal(relation(schema, store).as_string(None)),
    )


def slot(schema: str, store: str) -> sql.Composed:
    """SQL for the slot that is written to now."""
    return sql.SQL("(SELECT ({} % {})::int)").format(_turn(schema, store), sql.Literal(SLOTS))


def turns(schema: str, store: str) -> sql.Composed:
    """SQL for how many slots were begun. The one that a slot is emptied for is counted before
    the lock on it is let go, and even if that is rolled back."""
    return sql.SQL("(SELECT {})").format(_turn(schema, store))


def _turn(schema: str, store: str) -> sql.Composed:
    """Asked of a function, for to scan a sequence as a table is a good part of what capture costs.
    It is null until the sequence was first used."""
    counter = sql.Literal(sql.Identifier(schema, f"{store}_slot").as_string(None))
    last = sql.SQL("pg_catalog.pg_sequence_last_value({}::pg_catalog.regclass)").format(counter)
    return sql.SQL("coalesce({}, 0)").format(last)


def pace(schema: str, store: str) -> sql.Composed:
    """SQL for the number of the advisory lock by which writers know whether to ring."""
    name = sql.Literal(f"{schema}.{store} pace")
    return sql.SQL("pg_catalog.hashtextextended({}, 0)").format(name)


def _parts(schema: str, store: str) -> dict[str, sql.Composable]:
    seq = sql.Identifier(schema, f"{store}_seq")
    return {
        "store": relation(schema, store),
        "store_name": sql.Literal(relation(schema, store).as_string(None)),
        "about": about(schema, store),
        "seq": seq,
        "seq_name": sql.Literal(seq.as_string(None)),
        "slot": sql.Identifier(schema, f"{store}_slot"),
        "rest": sql.Identifier(schema, f"{store}_rest"),
    }
