"""The config file: what a good one becomes, and where its values are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import (
    Config,
    LimitsConfig,
    ServerConfig,
    TableConfig,
    TlsConfig,
    load,
    loads,
    quantities,
)
from bridge.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
URL = "postgresql://app:s3cret@db.example.com/shop"
ENV = {"DATABASE_URL": URL, "JWT_SECRET": "0123456789abcdef0123456789abcdef"}


def table(entry: str, **env: str) -> TableConfig:
    return loads(f"tables:\n  t: {entry}\n", env=ENV | env).tables["t"]


# What a good file becomes


def test_one_table_name_is_a_whole_config() -> None:
    config = loads("tables:\n  orders:\n", env=ENV)
    assert config == Config(
        file="config.yaml",
        database=URL,
        listen=URL,
        tables={"orders": TableConfig("orders", (None, "orders"), line=2)},
    )


def test_every_key_arrives() -> None:
    config = load(ROOT / "config.example.yaml", env=ENV)
    orders = config.tables["orders"]
    assert [topic.text for topic in orders.topics or ()] == [
        "orders",
        "orders/{id}",
        "customers/{customer_id}/orders",
    ]
    assert orders.columns == ("id", "customer_id", "status", "total", "placed_at", "updated_at")
    assert (orders.debounce, orders.max_wait, orders.leading) == (0.05, 0.5, False)
    items, products = config.tables["order_items"], config.tables["products"]
    assert items.key == ("order_id", "line")
    assert (items.refreshes, items.through) == ("orders", {"order_id": "id"})
    assert (items.operations, items.changed) == (
        ("insert", "update", "delete"),
        ("quantity", "price"),
    )
    assert products.table == ("public", "products")
    assert (products.where, products.trigger) == ("stock > 0", "statement")
    assert config.tables["customers"].exclude == ("email",)
    assert config.tables["customers"].document == ("public", "customer_cards")
    assert [name for name, table in config.tables.items() if not table.served] == ["order_items"]
    assert config.events
    assert len(config.tables) == 6
    payments = config.tables["payments"]
    assert (payments.mode, payments.position, payments.durable) == ("log", "id", False)
    assert config.tables["orders"].durable
    assert (config.retention, config.retention_size) == (86_400, 2**30)
    assert config.reconcile == 60.0
    assert config.server == ServerConfig(
        allowed_origins=("https://shop.example.com",),
        proxies=("127.0.0.1/32",),
        tls=TlsConfig("/etc/rowcast/tls.crt", "/etc/rowcast/tls.key"),
    )
    assert config.limits == LimitsConfig()


@pytest.mark.parametrize("tables", ["", "tables: {}\n", "tables: {orders: }\n"])
def test_published_events_are_a_log_table_that_no_file_spells_out(tables: str) -> None:
    config = loads(f"{tables}schema: own\nevents: true\n", env=ENV)
    events = config.tables["events"]
    assert events.table == ("own", "events")
    assert [topic.text for topic in events.topics or ()] == ["events", "events/{channel}"]
    assert (events.mode, events.position) == ("log", "position")
    assert "events" not in loads("tables: {t: }\nevents: false", env=ENV).tables


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "db.example.com"])
def test_serving_strangers_must_be_asked_for_in_writing(host: str) -> None:
    text = f"database: host=a\ntables: {{t: }}\nserver: {{host: '{host}'}}\n"
    with pytest.raises(ConfigError) as error:
        loads(text)
    assert str(error.value).startswith("config.yaml:3:16: server.host: ")
    assert loads(text + "auth: none\n").server.host == host


def test_sections_convert() -> None:
    config = loads(
        "database: host=a\nlisten: host=b\nschema: other\ntables: {t: }\n"
        "server: {host: '::1', port: 0, inspector: true, drain: 5m}\nlimits: {message: 1MiB}\n"
    )
    assert (config.database, config.listen, config.schema) == ("host=a", "host=b", "other")
    assert config.server == ServerConfig("::1", 0, (), inspector=True, drain=300.0)
    assert config.limits == LimitsConfig(message=1_048_576)


def test_tables_inherit_the_files_defaults() -> None:
    text = "debounce: 2s\nmax_wait: 5s\nleading: false\ntables:\n  a:\n  b: {debounce: 1s}\n"
    a, b = loads(text, env=ENV).tables.values()
    assert (a.debounce, a.max_wait, a.leading) == (2.0, 5.0, False)
    assert (b.debounce, b.max_wait, b.leading) == (1.0, 5.0, False)


def test_reconcile_can_be_turned_off() -> None:
    assert loads("database: host=a\nreconcile: 0\ntables: {t: }").reconcile == 0.0


def test_a_table_that_refreshes_another_is_served_if_it_has_topics() -> None:
    text = "tables: {a: , b: {refreshes: a}, c: {refreshes: b, topics: [c]}}"
    tables = loads(text, env=ENV).tables.values()
    assert [table.served for table in tables] == [True, False, True]


def test_the_demos_config_loads() -> None:
    assert load(ROOT / "bridge/demo/config.yaml", env=ENV).tables


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("orders", (None, "orders")),
        ("Orders", (None, "Orders")),
        ("billing.orders", ("billing", "orders")),
        ('billing."Invoice 2024"', ("billing", "Invoice 2024")),
        ("'\"we.ird\"'", (None, "we.ird")),
        ('\'"say ""hi"""\'', (None, 'say "hi"')),
        ("[billing, Invoice 2024]", ("billing", "Invoice 2024")),
        ("[s.x, s.x]", ("s.x", "s.x")),
    ],
)
def test_table_is_exact(written: str, means: tuple[str | None, str]) -> None:
    assert table(f"{{table: {written}}}").table == means


def test_a_dotted_public_name_is_schema_and_table() -> None:
    assert loads("tables: {billing.orders: }", env=ENV).tables["billing.orders"].table == (
        "billing",
        "orders",
    )


def test_a_public_name_need_not_be_a_table() -> None:
    config = loads("tables: {a.b.c: {table: x}}", env=ENV)
    assert config.tables["a.b.c"].table == (None, "x")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("100ms", 0.1), ("1.5s", 1.5), ("5m", 300.0), ("1h", 3600.0), ("0", 0.0), ("'${D}'", 0.25)],
)
def test_durations(written: str, seconds: float) -> None:
    assert table(f"{{debounce: {written}, max_wait: 1h}}", D="250ms").debounce == seconds


@given(st.integers(0, 3_600_000))
def test_durations_survive_writing_and_reading(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert quantities.duration(quantities.as_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "size"), [("64KiB", 65536), ("1MiB", 2**20), ("512B", 512), ("1024", 1024)]
)
def test_sizes(written: str, size: int) -> None:
    assert loads(f"tables: {{t: }}\nlimits: {{message: {written}}}", env=ENV).limits.message == size


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("${A}", "alpha"),
        ("x_${A}_${A}", "x_alpha_alpha"),
        ("${B:-beta}", "beta"),
        ("${EMPTY:-beta}", "beta"),
        ("x${EMPTY}${B:-}", "x"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A costs $5", "$A costs $5"),
    ],
)
def test_the_environment_is_filled_in(written: str, column: str) -> None:
    assert table(f"{{columns: ['{written}']}}", A="alpha", EMPTY="").columns == (column,)


def test_the_environment_fills_in_more_than_text() -> None:
    text = "tables: {t: {leading: '${L}'}}\nserver: {port: '${PORT:-80}'}"
    config = loads(text, env=ENV | {"L": "false"})
    assert (config.server.port, config.tables["t"].leading) == (80, False)


# Places


def test_places_point_at_the_value_or_the_nearest_around_it() -> None:
    config = loads("tables:\n  orders:\n    key: [id,\n      other]\n  x:\n", file="f", env=ENV)
    assert config.place("tables", "orders", "key", 1) == (4, 7)
    assert config.place("tables", "orders", "key") == (3, 5)
    assert config.place("tables", "orders", "topics", 2) == (2, 3)
    assert config.place("tables", "x") == (5, 3)
    assert config.place("server", "port") == (1, 1)
    found = config.problem("no such column", "tables", "orders", "key", 1)
    assert str(found) == "f:4:7: tables.orders.key[1]: no such column"


# Files


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nope.yaml: No such file.*--config"):
        load(tmp_path / "nope.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tables:\n  a: \xff", r":2:6: is not UTF-8"),
        (b"#" * 1_000_001, r":1:1: is over 1 MB"),
    ],
)
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(str(file)) + message):
        load(file)


def test_a_file_from_windows(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbftables:\r\n  t:\r\n")
    assert load(file, env=ENV).tables["t"].line == 2


# Imports


def test_types_are_cheap_to_import() -> None:
    script = "import sys, bridge.config;print(*{'pydantic', 'psycopg', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.split() == []
