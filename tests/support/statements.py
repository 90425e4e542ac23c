"""Random writes of an application, seeded, and the tables they go to at first.

They follow the catalog as it is now, so that most succeed, and are wrong now and then.
No outcome may depend on the order of rows in the heap, on the time or on a random
function of the server: two databases given the same statements must end up the same.
So keys move one at a time or change sign, and what a statement returns is compared sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    import psycopg

SCHEMA = """
CREATE SCHEMA shop; CREATE SCHEMA other; CREATE SCHEMA evil;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
CREATE TABLE shop.items (id int PRIMARY KEY, grp int, note text, data jsonb, raw json,
                         mood shop.mood);
CREATE TABLE shop.lines (item int REFERENCES shop.items ON DELETE CASCADE ON UPDATE CASCADE,
                         no int, amount shop.positive, PRIMARY KEY (item, no));
CREATE TABLE shop.people (name text PRIMARY KEY, mail varchar(9), at timestamptz, team text);
CREATE TABLE shop.tokens (id uuid PRIMARY KEY, owner text, worth numeric(8,2), tags text[]);
CREATE TABLE shop.parts (id shop.positive, region text NOT NULL, PRIMARY KEY (id, region))
    PARTITION BY LIST (region);
CREATE TABLE shop.parts_a PARTITION OF shop.parts FOR VALUES IN ('a', 'b');
CREATE TABLE shop.parts_z PARTITION OF shop.parts DEFAULT;
CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0';
CREATE FUNCTION evil.same(int, int) RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1';
CREATE OPERATOR evil.= (leftarg = int, rightarg = int, function = evil.same);
INSERT INTO shop.items SELECT n, n % 3, 'a' FROM generate_series(1, 12) n;
INSERT INTO shop.lines SELECT n, n % 4, n FROM generate_series(1, 12) n;
INSERT INTO shop.people SELECT n::text, 'a', 'epoch' FROM generate_series(1, 5) n;
INSERT INTO shop.parts SELECT n, 'a' FROM generate_series(1, 12) n;
CREATE FUNCTION shop.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
"""

RIGHTS = """
GRANT USAGE ON SCHEMA shop, other, evil TO {app};
GRANT ALL ON ALL TABLES IN SCHEMA shop TO {app};
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {app};
"""

_SHAPE = """
SELECT quote_ident(n.nspname), quote_ident(c.relname), c.relkind = 'p',
       array(SELECT quote_ident(a.attname) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum),
       array(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY attnum),
       array(SELECT quote_ident(a.attname) FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('shop', 'other', 'moved') ORDER BY 1, 2
"""

TYPES = ["int", "bigint", "text", "varchar(9)", "uuid", "json", "jsonb", "numeric(8,2)", "date"]
TYPES += ["timestamptz", "bytea", "text[]", "shop.mood", "shop.positive", "int4range", "interval"]

_TEXTS = ["a", "b", "", "a/b", 'q"uo', "back\\slash", "new\nline", "é😀", "x" * 3000]
_VALUES: dict[str, list[str]] = {
    "text": _TEXTS,
    "character varying": [*_TEXTS[:7], "too long for it"],
    "uuid": [f"5f0c4f3e-1b7e-4bf0-9d6a-0000000000{n:02}" for n in range(1, 13)],
    "json": ["{}", '{"a": 1,  "a": 2}', "[1, null]", '"\\u0000"'],
    "jsonb": ["{}", '{"a": 1e400}', "[1, null]"],
    "numeric": ["1", "1.0", "2.50", "NaN", "1e7"],
    "date": ["2024-02-29", "infinity", "0044-03-15 BC"],
    "timestamp with time zone": [
        "2024-03-31 01:30:00+00",
        "-infinity",
        "2024-10-27 02:30 Asia/Tokyo",
    ],
    "bytea": ["\\x00ff", "abc"],
    "text[]": ["{}", "{a,NULL}", '{"a,b"}'],
    "mood": ["sad", "ok", "happy", "new"],
    "int4range": ["[1,5)", "empty"],
    "interval": ["1 day", "-1 mon 3 h"],
}


class Step(NamedTuple):
    """A statement, and what a COPY reads."""

    sql: str
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the catalog has it, every name quoted already."""

    schema: str
    name: str
    partitioned: bool
    columns: list[str]
    types: list[str]
    key: list[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def shapes(connection: psycopg.Connection) -> list[Shape]:
    return [Shape(*row) for row in connection.execute(_SHAPE.encode()).fetchall()]


class Writer:
    """Thinks of writes; `tables` is what there is, renewed by the caller."""

    def __init__(self, random: Random, role: str) -> None:
        self.random = random
        self.role = role
        self.tables: list[Shape] = []
        self._last = ""

    def one_of(self, weights: dict[Callable[[], Any], int]) -> Callable[[], Any]:
        return self.random.choices(list(weights), list(weights.values()))[0]

    # Values and places

    def table(self) -> Shape:
        """Often the same as before: what was just rebuilt is what is written to next."""
        last = [shape for shape in self.tables if shape.name == self._last]
        shape = self.random.choice(last if last and self.random.random() < 0.6 else self.tables)
        self._last = shape.name
        return shape

    def literal(self, kind: str) -> str:
        base = kind.split("(")[0].split(".")[-1].strip('"')
        if self.random.random() < 0.03:
            return "NULL"
        value = self.random.choice(_VALUES.get(base, [str(n) for n in range(1, 13)]))
        return "'" + value.replace("'", "''") + "'"

    def _row(self, table: Shape) -> str:
        return ", ".join(self.literal(kind) for kind in table.types)

    def _where(self, table: Shape) -> str:
        """A condition for one key, a few rows, or all."""
        if self.random.random() < 0.1 or not table.columns:
            return "true"
        columns = table.key or [self.random.choice(table.columns)]
        kinds = dict(zip(table.columns, table.types, strict=True))
        keep = columns if self.random.random() < 0.7 else columns[:1]
        sign = self.random.choice(["=", ">"])
        return " AND ".join(f"{column} {sign} {self.literal(kinds[column])}" for column in keep)

    def _assignment(self, table: Shape) -> str:
        n = self.random.randrange(len(table.columns) or 1)
        column = table.columns[n] if table.columns else "id"
        kind = table.types[n] if table.types else "int"
        return f"{column} = {self.literal(kind)}"

    # Writes

    def write(self) -> Step | str:
        weights = {self._insert: 30, self._update: 30, self._delete: 8, self._upsert: 8}
        weights |= {self._merge: 6, self._copy: 6, self._several: 6, self._truncate: 2}
        weights |= {self._many: 3, self._block: 5, self._flip: 3}
        return self.one_of(weights)()

    def _insert(self) -> str:
        table = self.table()
        rows = ", ".join(f"({self._row(table)})" for _ in range(self.random.choice([1, 1, 2, 4])))
        end = self.random.choice(["", "", " ON CONFLICT DO NOTHING", " RETURNING *"])
        return f"INSERT INTO {table} VALUES {rows}{end}"

    def _update(self) -> str:
        table = self.table()
        nothing = f"{table.columns[0]} = {table.columns[0]}" if table.columns else "id = id"
        change = nothing if self.random.random() < 0.1 else self._assignment(table)
        end = self.random.choice(["", "", " RETURNING *"])
        return f"UPDATE {table} SET {change} WHERE {self._where(table)}{end}"

    def _flip(self) -> str:
        table = self.table()
        column = (table.key or table.columns or ["id"])[0]
        return f"UPDATE {table} SET {column} = -{column}"

    def _delete(self) -> str:
        table = self.table()
        return f"DELETE FROM {table} WHERE {self._where(table)}"

    def _upsert(self) -> str:
        table = self.table()
        key = ", ".join(table.key or ["id"])
        return (
            f"INSERT INTO {table} AS t VALUES ({self._row(table)}), ({self._row(table)})"
            f" ON CONFLICT ({key}) DO UPDATE SET {self._assignment(table)}"
        )

    def _merge(self) -> str:
        table = self.table()
        key = (table.key or table.columns or ["id"])[0]
        return (
            f"MERGE INTO {table} t USING (SELECT DISTINCT {key} FROM {self.table()}) s"
            f" ON t.{key} = s.{key} WHEN MATCHED AND t.{key} = {self.literal('int')} THEN DELETE"
            f" WHEN MATCHED THEN UPDATE SET {self._assignment(table)}"
            f" WHEN NOT MATCHED THEN INSERT VALUES ({self._row(table)})"
        )

    def _copy(self) -> Step:
        table = self.table()
        # Into partitions PostgreSQL copies row by row where a trigger keeps the new rows, and
        # in batches where none does: of two rows that are wrong, it may name the other.
        count = 1 if table.partitioned else 3
        rows = [[self._field(kind) for kind in table.types] for _ in range(count)]
        return Step(f"COPY {table} FROM STDIN", "".join("\t".join(row) + "\n" for row in rows))

    def _field(self, kind: str) -> str:
        literal = self.literal(kind)
        text = "\\N" if literal == "NULL" else literal[1:-1].replace("\\", "\\\\")
        return text.replace("\n", "\\n")

    def _several(self) -> str:
        one, two, three = self.table(), self.table(), self.table()
        return (
            f"WITH a AS (UPDATE {one} SET {self._assignment(one)} WHERE {self._where(one)}),"
            f" b AS (DELETE FROM {two} WHERE {self._where(two)} RETURNING 1)"
            f" INSERT INTO {three} VALUES ({self._row(three)})"
        )

    def _truncate(self) -> str:
        return f"TRUNCATE {self.table()} {self.random.choice(['', 'CASCADE'])}"

    def _many(self) -> str:
        """More rows than a statement may name, by the numbers that no other statement uses."""
        table = self.table()
        first, *rest = table.types or ["int"]
        start, count = self.random.choice([1000, 5000]), self.random.choice([400, 1100])
        values = ", ".join([f"i::text::{first}", *map(self.literal, rest)])
        return (
            f"INSERT INTO {table} SELECT {values} FROM generate_series({start}, {start + count}) i"
        )

    def _block(self) -> str:
        """A procedure's body: many statements in one, an error that is caught among them."""
        first, second = self._update().split(" RETURNING")[0], self._delete()
        return (
            f"DO $block$ BEGIN FOR i IN 1..3 LOOP {first}; BEGIN {second}; PERFORM 1 / (i - 2);"
            " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $block$"
        )
