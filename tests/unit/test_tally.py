"""Counters and histograms that cost an addition."""

from __future__ import annotations

import re

import prometheus_client
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from bridge.tally import Histograms, Tallies

BOUNDS = (0.001, 0.5, 1, 30)
WHOLE = st.integers(-1, 40).map(float)  # of which sums are exact, in any order
VALUES = st.lists(st.tuples(st.sampled_from(["orders", 'a "table"']), WHOLE))


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


@given(values=VALUES, together=st.booleans())
@example(values=[("orders", bound) for bound in BOUNDS], together=True)
def test_a_histogram_reads_as_the_library_would_write_it(
    values: list[tuple[str, float]], together: bool
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    about = "seconds", "How long"
    counted = Histograms(*about, BOUNDS, ["table"], registry=ours)
    wanted = prometheus_client.Histogram(*about, ["table"], buckets=BOUNDS, registry=theirs)
    for table, value in values:
        wanted.labels(table).observe(value)
        if not together:
            counted.of(table).observe(value)
    if together:
        for table in dict.fromkeys(table for table, _ in values):
            counted.of(table).observe_all([value for of, value in values if of == table])
    assert said(ours) == said(theirs)


def test_a_histogram_without_labels_is_there_from_the_start() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Histograms("keys", "How many", BOUNDS, registry=ours).of()
    prometheus_client.Histogram("keys", "How many", buckets=BOUNDS, registry=theirs)
    assert said(ours) == said(theirs)


def said(registry: CollectorRegistry) -> str:
    """What Prometheus reads, without the times at which things were made."""
    text = generate_latest(registry).decode()
    return re.sub(r"(?m)^.*_created\b.*\n", "", text)
