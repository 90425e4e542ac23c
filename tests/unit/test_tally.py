"""Counters that cost an addition."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from bridge.tally import Tallies


def test_what_is_counted_is_read_when_it_is_asked_for() -> None:
    registry = CollectorRegistry()
    tallies = Tallies(registry)
    messages = tallies.single("messages", "Written")
    tables = tallies.by("table", "changes", "Seen")
    elsewhere = [0]
    tallies.read("met", "Elsewhere", lambda: elsewhere[0])
    messages.inc()
    messages.inc(4)
    tables["orders"] += 2
    tables['a "table"'] += 1
    elsewhere[0] = 7
    assert registry.get_sample_value("messages_total") == 5
    assert registry.get_sample_value("changes_total", {"table": "orders"}) == 2
    assert registry.get_sample_value("met_total") == 7
    assert r'changes_total{table="a \"table\""} 1.0' in generate_latest(registry).decode()
