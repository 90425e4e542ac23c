"""The body of an audit function: who did what to which row, in the writer's own transaction.

    slot, seq, xid, at       as in every store; `at` is when the transaction began
    source, op, key          the table's public name; insert, update, delete or truncate; the
                             row's key as JSON texts, `*` where it cannot be told
    changed                  the names of an update's columns that have another value now
    old, new                 values, of the columns that were asked for and of no other
    login, role, actor, application
                             session_user; what SET ROLE said; what the application says in
                             the setting `rowcast.actor`; application_name
    fault                    the SQLSTATE because of which less is written down than was asked

It keeps to the rules of `capture`: it never fails the statement, and it runs as its owner,
so that a writer needs no right to what it writes here. What is written is worked out under
a guard and inserted outside of it, without a subtransaction that has a number; only for
more than `MANY` rows at once is it inserted under the guard, as they would fill the memory.

Where something cannot be worked out, a column that was dropped say, less is: no values,
then no names of columns, and in the end that something was written, by whom and when.
`where`, `operations` and `changed` speak of what is served, so they mean nothing here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg import sql

from bridge import difference, fragments, storage
from bridge.fragments import MANY, NEW, OLD
from bridge.log_capture import ENTRY, UNKNOWN
from bridge.tables import SETTINGS, Audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config import TableConfig
    from bridge.fragments import Parts
    from bridge.installed import Installed
    from bridge.parents import Complain
    from bridge.tables import Relation, Table

_BODY = sql.SQL(
    """
#variable_conflict use_column
-- Written by `rowcast migrate`, which will overwrite what is changed here.
DECLARE
    touched bigint;
    ops text[];
    keys text[];
    changes text[];
    olds jsonb[];
    news jsonb[];
    fault text;
BEGIN
    IF {writable} IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    FOR attempt IN 1..{attempts} + 1 LOOP
        BEGIN
            IF TG_OP = 'TRUNCATE' OR attempt > {attempts} THEN
                ops := ARRAY[lower(TG_OP)];
                keys := ARRAY[CASE WHEN attempt > {attempts} THEN {unknown} END];
            {branches}
            END IF;
            EXIT;
        EXCEPTION WHEN OTHERS THEN
            fault := coalesce(fault, SQLSTATE);
            ops := NULL; keys := NULL; changes := NULL; olds := NULL; news := NULL;
        END;
    END LOOP;
    IF ops IS NOT NULL THEN
        INSERT INTO {store} (slot, source, op, key, changed, old, new, fault)
        SELECT {slot}, {source}, k.op, k.key, k.changed::text[], k.old, k.new, fault
        FROM unnest(ops, keys, changes, olds, news) AS k(op, key, changed, old, new);
    END IF;
    RETURN NULL;
END
"""
)
_BRANCH = sql.SQL("ELSIF attempt = {attempt} AND TG_OP = {event} THEN{work}\n            ")

_COLLECT = sql.SQL(
    """
                SELECT array_agg(e.op), array_agg({key}), array_agg(e.changed),
                       array_agg(e.old), array_agg(e.new)
                INTO ops, keys, changes, olds, news FROM ({rows}) AS e;"""
)
_WRITE = sql.SQL(
    """
                INSERT INTO {store} (slot, source, op, key, changed, old, new, fault)
                SELECT {slot}, {source}, e.op, {key}, e.changed::text[], e.old, e.new, fault
                FROM ({rows}) AS e;"""
)
_KEY = sql.SQL("CASE WHEN octet_length(e.key) <= {size} THEN e.key WHEN e.key <> '' THEN {u} END")
_BY_COUNT = sql.SQL(
    """{count}
                IF touched > {most} THEN{write}
                ELSIF touched = 1 THEN{one}
                ELSIF touched > 0 THEN{some}
                END IF;"""
)

_INSERTED = sql.SQL(
    """
                    SELECT 'insert' AS op, {new_key} AS key, NULL::text AS changed,
                           NULL::jsonb AS old, {new_row} AS new FROM {news} AS n"""
)
_DELETED = sql.SQL(
    """
                    SELECT 'delete' AS op, {old_key} AS key, NULL::text AS changed,
                           {old_row} AS old, NULL::jsonb AS new FROM {olds} AS o"""
)
# Under both keys, where it has another one now.
_UPDATED = sql.SQL(
    """
                    SELECT 'update' AS op, v.key, {changed} AS changed, {old_values} AS old,
                           {new_values} AS new
                    FROM {olds} AS o CROSS JOIN {news} AS n
                    CROSS JOIN LATERAL (SELECT {new_key} UNION SELECT {old_key}) AS v(key)
                    WHERE {differs}"""
)
# Which old row became which new one, nothing tells of rows that have another key now.
_JOINED = sql.SQL(
    """
                    SELECT 'update' AS op, CASE WHEN {removed} THEN {old_key} ELSE {new_key} END
                               AS key,
                           CASE WHEN {added} OR {removed} THEN {key_names} ELSE {changed} END
                               AS changed,
                           CASE WHEN {added} THEN NULL WHEN {removed} THEN {old_row}
                                ELSE {old_values} END AS old,
                           CASE WHEN {removed} THEN NULL WHEN {added} THEN {new_row}
                                ELSE {new_values} END AS new
                    FROM {olds} AS o FULL JOIN {news} AS n ON {same}
                    WHERE {added} OR {removed} OR {differs}"""
)
_KEYLESS = sql.SQL(
    """
                    SELECT 'update' AS op, NULL::text AS key, NULL::text AS changed,
                           {old_row} AS old, NULL::jsonb AS new FROM {olds} AS o
                    UNION ALL SELECT 'update', NULL, NULL, NULL, {new_row} FROM {news} AS n"""
)

_NO_VALUES = sql.SQL("NULL::jsonb")
_NO_NAMES = sql.SQL("NULL::text")


def wanted(entry: TableConfig, relation: Relation, complain: Complain) -> Audit | None:
    """What the config asks to be written down; a complaint for each column that is not there."""
    if entry.audit is None:
        return None
    columns = tuple(column for column in relation.columns if not column.virtual)
    if entry.audit.values is None:
        return Audit(columns, columns, every=True)
    for name in entry.audit.values:
        if relation.column(name) is None:
            complain(relation.unknown(name), "audit", "values")
    return Audit(columns, tuple(one for one in columns if one.name in entry.audit.values))


def left(schema: str, installed: Installed) -> str | None:
    """What to say of a trail that stays where no config asks for it."""
    if not installed.audited:
        return None
    return (
        f"{schema}.audit stays, for it may hold what was audited, and nothing prunes it; once it"
        f" is not needed, TRUNCATE {schema}.audit and run this again"
    )


def asks(table: Table) -> str:
    """A digest of what is asked, whatever columns there are: see `records.asks`."""
    assert table.audit is not None
    values = True if table.audit.every else [column.name for column in table.audit.values]
    key = [[column.name, column.type] for column in table.key]
    asked = {"name": table.name, "key": key, "trigger": table.trigger, "values": values}
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def settings(table: Table) -> tuple[tuple[str, str], ...]:
    """What the function sets so that its text does not vary."""
    assert table.audit is not None
    steady = all(column.steady for column in table.key + table.audit.values)
    return () if steady else tuple(SETTINGS.items())


def body(table: Table, schema: str) -> str:
    """What `pg_proc.prosrc` will hold."""
    assert table.audit is not None
    store = storage.relation(schema, "audit")
    parts: Parts = {
        "store": store,
        "writable": storage.writable(schema, "audit"),
        "slot": storage.slot(schema, "audit"),
        "source": sql.Literal(table.name),
        "most": sql.Literal(MANY),
        "unknown": sql.Literal(UNKNOWN),
        "key": _KEY.format(size=sql.Literal(ENTRY), u=sql.Literal(UNKNOWN)),
    }
    attempts = list(_attempts(table))
    branches = [
        _BRANCH.format(
            attempt=sql.Literal(n),
            event=sql.Literal(event),
            work=_work(table, parts, pieces, event),
        )
        for n, pieces in enumerate(attempts, 1)
        for event in ("INSERT", "UPDATE", "DELETE")
    ]
    return _BODY.format(
        **parts, attempts=sql.Literal(len(attempts)), branches=sql.SQL("").join(branches)
    ).as_string(None)


def _attempts(table: Table) -> Iterator[Parts]:
    """With values, with the names of columns, with the key alone."""
    audit = table.audit
    assert audit is not None
    own = replace(table, where=None, changed=None)
    pieces = fragments.comparison(own) | fragments.sources(own)
    key = [column.text(NEW) for column in table.key]
    old_key = [column.text(OLD) for column in table.key]
    pieces |= {
        "new_key": fragments.entry(key) if key else _NO_NAMES,
        "old_key": fragments.entry(old_key) if key else _NO_NAMES,
        "key_names": difference.array([sql.Literal(column.name) for column in table.key]),
    }
    nothing = dict.fromkeys(("old_row", "new_row", "old_values", "new_values"), _NO_VALUES)
    names: Parts = {"changed": difference.array(list(map(difference.name_of, audit.columns)))}
    if audit.values:
        yield pieces | names | difference.values(audit.values)
    yield pieces | names | nothing
    yield pieces | {"changed": _NO_NAMES, "key_names": _NO_NAMES} | nothing


def _work(table: Table, parts: Parts, pieces: Parts, event: str) -> sql.Composable:
    pair = _UPDATED.format(**pieces)
    several = (_JOINED if table.key else _KEYLESS).format(**pieces)
    ones = {"INSERT": _INSERTED, "DELETE": _DELETED}
    one = ones[event].format(**pieces) if event in ones else pair
    collected = _COLLECT.format(**parts, rows=one)
    if table.trigger == "row":
        return collected
    many = one if event in ones else several
    rows = pieces["olds"] if event == "DELETE" else pieces["news"]
    return _BY_COUNT.format(
        count=fragments.count(rows, parts),
        most=parts["most"],
        write=_WRITE.format(**parts, rows=many),
        one=collected,
        some=_COLLECT.format(**parts, rows=many),
    )
