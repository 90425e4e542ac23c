"""A span for each batch with its stages, where the environment asks for traces."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bridge.spans import Spans
from tests.support import PATIENCE
from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.visitor import visiting

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.support.bridges import Running

TABLES = """
CREATE TABLE notes (id int PRIMARY KEY, said text);
CREATE TABLE orders (id int PRIMARY KEY, status text);
"""
CONFIG = """
  notes: {}
  orders: {durable: true}
"""


async def traced(bridge: Running, admin: psycopg.Connection, write: str) -> list[ReadableSpan]:
    """The spans of one write, the outer one first, and what was told of it."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    bridge.bridge.on_flush.append(Spans(provider.get_tracer("test")).flushed)
    async with visiting(bridge.url, write.split()[2]) as visit:
        await visit.begin()
        admin.execute(write)
        while (message := await visit.next())["type"] != "change":
            pass
    async with asyncio.timeout(PATIENCE):
        while not (spans := kept.get_finished_spans()):
            await asyncio.sleep(0.01)
    bridge.bridge.on_flush.pop()
    outer = next(span for span in spans if span.parent is None)
    assert outer.attributes is not None
    assert outer.attributes["rowcast.version"] == message["version"]
    return [outer, *(span for span in spans if span is not outer)]


async def test_a_batch_is_a_span_with_its_stages(database: str, admin: psycopg.Connection) -> None:
    admin.execute(TABLES)
    async with running(configure(database, CONFIG)) as bridge:
        outer, *stages = await traced(
            bridge, admin, "INSERT INTO notes SELECT n, 'hush' FROM generate_series(1, 3) n"
        )
        assert outer.name == "flush"
        assert (
            dict(outer.attributes or {}).items()
            >= {
                "rowcast.table": "notes",
                "rowcast.durable": False,
                "rowcast.keys": 3,
                "rowcast.messages": 3,
            }.items()
        )
        assert [stage.name for stage in stages] == ["coalesce", "load", "send"]
        times = [time for stage in stages for time in (stage.start_time, stage.end_time)]
        assert times == sorted(times, key=lambda time: time or 0)
        assert (outer.start_time, outer.end_time) == (times[0], times[-1])
        assert all(stage.parent == outer.context for stage in stages)
        assert "hush" not in "".join(span.to_json() for span in (outer, *stages))
        durable = await traced(bridge, admin, "INSERT INTO orders VALUES (1, 'paid')")
        assert [s.name for s in durable] == ["flush", "capture", "coalesce", "load", "send"]


async def test_the_environment_turns_traces_on(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute(TABLES)
    (tmp_path / "config.yaml").write_text(f"tables:\n{CONFIG}")
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    rowcast.environment |= {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    async with rowcast.serving() as serving:
        url = serving.address.replace("http", "ws", 1) + "/ws"
        async with visiting(url, "notes") as visit:
            await visit.begin()
            admin.execute("INSERT INTO notes VALUES (1, 'said')")
            while (await visit.next())["type"] != "change":
                pass
        serving.process.terminate()
        out, _ = await serving.process.communicate()
    assert '"name": "flush"' in out.decode()
    first = json.JSONDecoder().raw_decode(out.decode().lstrip())[0]
    resource = first["resource"]["attributes"]
    assert resource["service.name"] == "rowcast"
    assert resource["deployment.environment.name"] == "test"


def test_nothing_is_imported_where_nobody_asks() -> None:
    code = """
import sys
import bridge.commands.serve, bridge.pipeline, bridge.spans
assert bridge.spans.configured("b7f3", {"OTEL_TRACES_EXPORTER": "none"}) is None
assert bridge.spans.configured("b7f3", {"OTEL_SERVICE_NAME": "x"}) is None
asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
assert bridge.spans.configured("b7f3", asked) is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_where_it_is_not_installed_the_bridge_serves_without() -> None:
    code = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
import bridge.spans
asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
assert bridge.spans.configured("b7f3", asked) is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "install rowcast[tracing]" in done.stderr
