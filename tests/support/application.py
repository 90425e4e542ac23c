"""Random statements of an application that is being rebuilt while it runs: a seed is a history.

Beside its writes, what happens to its tables, its sessions and its transactions.
"""

from __future__ import annotations

from psycopg.pq import TransactionStatus

from tests.support.statements import TYPES, Step, Writer

_SETTINGS = {
    "search_path": ["public", "shop", "evil, pg_temp, pg_catalog, shop", "''"],
    "TimeZone": ["'America/St_Johns'", "UTC", "'Asia/Kolkata'"],
    "DateStyle": ["'German, DMY'", "'SQL, MDY'", "ISO"],
    "IntervalStyle": ["sql_standard", "postgres_verbose"],
    "bytea_output": ["escape", "hex"],
    "extra_float_digits": ["-3", "1"],
    "standard_conforming_strings": ["off", "on"],
    "session_replication_role": ["replica", "origin", "local"],
    "plan_cache_mode": ["force_generic_plan", "force_custom_plan", "auto"],
    "plpgsql.variable_conflict": ["use_variable", "use_column", "error"],
    "plpgsql.extra_errors": ["'all'", "'none'"],
    "row_security": ["off", "on"],
    "quote_all_identifiers": ["on", "off"],
    "work_mem": ["'64kB'", "'4MB'"],
    "client_encoding": ["LATIN1", "UTF8"],
}


class Application(Writer):
    """Thinks of the next statement, given the transaction's status."""

    def step(self, status: TransactionStatus) -> Step:
        if status == TransactionStatus.INERROR and self.random.random() < 0.8:
            return Step(self.random.choice(["ROLLBACK", "ROLLBACK TO s", "COMMIT"]))
        if status == TransactionStatus.INTRANS and self.random.random() < 0.3:
            ends = ["COMMIT", "COMMIT", "ROLLBACK", "ROLLBACK TO s", "RELEASE s"]
            return Step(self.random.choice(["SAVEPOINT s", "SAVEPOINT s", *ends]))
        kinds = {self.write: 65, self._ddl: 25, self._set: 8, self._begin: 5}
        made: Step | str = self.one_of(kinds)()
        return made if isinstance(made, Step) else Step(made)

    def _begin(self) -> str:
        levels = ["", "", " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE"]
        return "BEGIN" + self.random.choice(levels)

    def _set(self) -> str:
        name = self.random.choice([*_SETTINGS, "ROLE", "ROLE", "RESET", "RESET", "RESET"])
        if name == "ROLE":
            return f"SET ROLE {self.role}"
        if name == "RESET":
            resets = ["RESET ROLE", "RESET ROLE", "DISCARD ALL", "RESET ALL", "DISCARD PLANS"]
            return self.random.choice(resets)
        local = self.random.choice(["", "", "LOCAL "])
        return f"SET {local}{name} = {self.random.choice(_SETTINGS[name])}"

    # DDL

    def _ddl(self) -> str:
        weights = {self._columns: 20, self._types: 5, self._names: 4, self._constraints: 6}
        weights |= {self._triggers: 4, self._whole: 4, self._partitions: 2}
        return str(self.one_of(weights)())

    def _columns(self) -> str:
        table, new = self.table(), self.random.choice(["id", "grp", "note", "c1", "c2", '"C 3"'])
        if not table.columns or (len(table.columns) < 8 and self.random.random() < 0.3):
            kind = self.random.choice(TYPES)
            default = self.random.choice(["", f" DEFAULT {self.literal(kind)}"])
            return f"ALTER TABLE {table} ADD {new} {kind}{default}"
        old = self.random.choice(self.random.choice([table.key, table.columns]) or table.columns)
        return self.random.choice(
            [
                f"ALTER TABLE {table} DROP {old} CASCADE",
                f"ALTER TABLE {table} RENAME {old} TO {new}",
                f"ALTER TABLE {table} RENAME {old} TO {new}",
                f"ALTER TABLE {table} RENAME {old} TO {new}",
                f"ALTER TABLE {table} ALTER {old} DROP NOT NULL",
                f"ALTER TABLE {table} ALTER {old} SET DEFAULT NULL",
            ]
        )

    def _types(self) -> str:
        table, kind = self.table(), self.random.choice(TYPES)
        column = self.random.choice(table.columns or ["id"])
        return self.random.choice(
            [
                f"ALTER TABLE {table} ALTER {column} TYPE {kind} USING {column}::text::{kind}",
                f"ALTER TABLE {table} ALTER {column} TYPE text",
                f"ALTER TABLE {table} ALTER {column} TYPE bigint",
                "ALTER TYPE shop.mood ADD VALUE IF NOT EXISTS 'new'",
                "ALTER TYPE shop.mood RENAME VALUE 'ok' TO 'fine'",
                "ALTER DOMAIN shop.positive DROP CONSTRAINT IF EXISTS positive_check",
                "ALTER DOMAIN shop.positive ADD CONSTRAINT few CHECK (VALUE < 9000) NOT VALID",
            ]
        )

    def _names(self) -> str:
        table, name = self.table(), self.random.choice(["items", "people", "tokens", '"Odd t"'])
        return self.random.choice(
            [
                f"ALTER TABLE {table} RENAME TO {name}",
                f"ALTER TABLE {table} SET SCHEMA {self.random.choice(['shop', 'other'])}",
                "ALTER SCHEMA other RENAME TO moved",
                "ALTER SCHEMA moved RENAME TO other",
            ]
        )

    def _constraints(self) -> str:
        table = self.table()
        column = self.random.choice(table.columns or ["id"])
        return self.random.choice(
            [
                f"ALTER TABLE {table} DROP CONSTRAINT {table.name.strip(chr(34))}_pkey CASCADE",
                f"ALTER TABLE {table} ADD PRIMARY KEY ({column})",
                f"ALTER TABLE {table} ADD CONSTRAINT u UNIQUE ({column}) DEFERRABLE",
                f"ALTER TABLE {table} ADD CONSTRAINT k CHECK ({column} IS NOT NULL) NOT VALID",
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS u, DROP CONSTRAINT IF EXISTS k",
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                f"CREATE INDEX ON {table} ({column})",
            ]
        )

    def _triggers(self) -> str:
        table = self.table()
        return self.random.choice(
            [
                f"ALTER TABLE {table} DISABLE TRIGGER USER",
                f"ALTER TABLE {table} ENABLE TRIGGER USER",
                f"ALTER TABLE {table} ENABLE TRIGGER USER",
                f"CREATE TRIGGER skip BEFORE DELETE ON {table} FOR EACH ROW"
                " EXECUTE FUNCTION shop.skip()",
                f"DROP TRIGGER IF EXISTS skip ON {table}",
            ]
        )

    def _whole(self) -> str:
        table = self.table()
        columns = "id int PRIMARY KEY, grp int, note text"
        return self.random.choice(
            [
                f"DROP TABLE {table} CASCADE; CREATE TABLE {table} ({columns})",
                f"DROP TABLE {table}",
                f"CREATE TABLE shop.{self.random.choice(['items', 'tokens', 'extra'])} ({columns})",
                f"CREATE TABLE shop.fresh AS SELECT * FROM {table}",
                f"CREATE TABLE shop.copy (LIKE {table} INCLUDING ALL)",
                f"LOCK TABLE {table}",
                f"VACUUM FULL {table}",
            ]
        )

    def _partitions(self) -> str:
        parts = [
            "DETACH PARTITION shop.parts_a",
            "ATTACH PARTITION shop.parts_a FOR VALUES IN ('a', 'b')",
        ]
        return f"ALTER TABLE shop.parts {self.random.choice(parts)}"
