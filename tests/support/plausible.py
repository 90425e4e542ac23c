"""SQL for values that a column of any type may well hold, and for values it does not hold yet.

Nothing is known of a column but what the catalog says. So half of all values are borrowed
from another row, which no constraint can refuse on its own; the others are made up from
the type, and now and then refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from random import Random

TEXTS = ("", "a", "Ünïcode €", "it's 50 %", 'say "hi"\\', "line\nbreak", "{x}", "a/b", "null", " ")
"""Whatever JSON, LIKE, format strings, arrays or topics might trip over."""

_DAY = "'2024-02-29'::date + {n}"
_MOMENT = "'2024-03-31 00:30:00'::timestamp + {n} * interval '1 h 0.000001 s'"
_MADE = {
    "bool": "{n} % 2 = 0",
    "int2": "{n}",
    "int4": "{n}",
    "int8": "{n} + 9007199254740993",
    "oid": "{n}",
    "numeric": "{n} / 4.0",
    "money": "{n}::numeric::money",
    "float4": "{n} / 3.0",
    "float8": "CASE {n} % 9 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE {n} / 3.0 END",
    "date": _DAY,
    "timestamp": _MOMENT,
    "timestamptz": _MOMENT,
    "time": "'00:00'::time + {n} * interval '1 min'",
    "timetz": "'00:00+02'::timetz + {n} * interval '1 min'",
    "interval": "{n} * interval '1 mon -3 days 04:05:06.789'",
    "uuid": "md5('{n}')::uuid",
    "json": """('{{"b": [{n}, null], "a": 1.50, "b": 2}}')""",
    "jsonb": """('{{"n": {n}, "t": ["é", {{}}]}}')""",
    "bytea": "decode(md5('{n}'), 'hex')",
    "tsvector": "to_tsvector('simple', 'word{n} or other')",
    "inet": "'10.0.0.0'::inet + {n}",
    "cidr": "network('10.0.0.0'::inet + {n})",
    "macaddr": "('08:00:2b:01:02:' || lpad(to_hex({n} % 256), 2, '0'))",
    "point": "point({n}, 1)",
    "int4range": "int4range({n}, {n} + 5)",
    "int8range": "int8range({n}, {n} + 5)",
    "numrange": "numrange({n}, {n} + 0.5)",
    "daterange": "daterange(" + _DAY + ", NULL)",
    "bit": "({n} % 8)::bit(3)",
    "xml": "xmlparse(CONTENT '<n>{n}</n>')",
}
_TEXTS = {"text", "varchar", "bpchar", "name", "citext"}


@dataclass(frozen=True, slots=True)
class Field:
    """A column: `type` is as `format_type` writes it, `base` its name below any domains.

    `labels` are an enum's; `item` is the type of an array's elements; `limit` is a string's
    greatest length, if it has one. A field that is not `writable` is computed.
    """

    name: str
    type: str
    base: str
    item: str | None
    labels: tuple[str, ...]
    limit: int | None
    not_null: bool
    writable: bool

    def made(self, random: Random) -> sql.Composable | None:
        """A value of the type; None where nothing is known of it."""
        if self.labels:
            return self._cast(sql.Literal(random.choice(self.labels)))
        if self.item:
            return self._array(random)
        text = _made(self.base, random, self.limit)
        return text and self._cast(text)

    def _array(self, random: Random) -> sql.Composable | None:
        count = random.randint(0, 3)
        items = [_made(self.item or "", random, None) for _ in range(count)]
        if None in items:
            return None
        return self._cast(sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(filter(None, items))))

    def _cast(self, value: sql.Composable) -> sql.Composable:
        return sql.SQL("({})::{}").format(value, sql.SQL(self.type))

    def after(self, taken: sql.Composable, random: Random) -> sql.Composable | None:
        """A value that is most probably in no row, near `taken`, which is in one."""
        n = random.randint(1, 10**6)
        if self.base in ("int2", "int4", "int8", "numeric", "oid", "float8"):
            return None  # one more than the greatest: the caller knows the table
        if self.base in ("date", "timestamp", "timestamptz", "interval", "time"):
            step = f"interval '{n % 5000} s'" if self.base != "date" else str(n % 20 + 1)
            return self._cast(sql.SQL("{} + {}").format(taken, sql.SQL(step)))
        if self.base in _TEXTS:
            keep = max((self.limit or 40) - 7, 0)
            new = sql.SQL("left({}::text, {}) || {}").format(taken, keep, sql.Literal(f"~{n}"))
            return self._cast(new)
        return self.made(random)


def _made(base: str, random: Random, limit: int | None) -> sql.Composable | None:
    if base in _TEXTS:
        return sql.Literal(random.choice(TEXTS)[:limit])
    text = _MADE.get(base)
    return sql.SQL(text.format(n=random.randint(0, 200))) if text else None
