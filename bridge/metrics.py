"""What an instance counts, for Prometheus. Each bridge has a registry of its own.

Labels have few values: tables by their public names, stages, stores; never a topic or a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    Summary,
    generate_latest,
)

from bridge.tally import Histograms, Tallies, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.flush import Flush

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STAGE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_KEYS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)

STAGES = ("capture", "coalesce", "load", "send")


class Metrics:
    """Every metric of one bridge; names carry the unit, times are seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tallies = Tallies(self.registry)
        self._changes_in()
        self._reads()
        self._subscribers()
        self._instance()
        self._database()
        self._stores()
        self._times()

    def _changes_in(self) -> None:
        self.notifications = self._counter("notifications", "Notifications received")
        self.malformed = self._counter("malformed", "Notifications no trigger of ours wrote")
        self.changes = self.tallies.by(
            "table", "rowcast_changes", "Changed keys, as they were told of"
        )
        self.gaps = self._counter("gaps", "Stretches in which changes may have been missed")
        self.dirty = self._gauge("dirty_keys", "Keys that changed and were not read yet")
        self.repairs = self._counter(
            "reconcile_repairs", "Changes that no notification told of, found by reconcile"
        )

    def _reads(self) -> None:
        self.reloads = self._counter("reloads", "SELECTs for changed keys")
        self.snapshots = self._counter("snapshots", "SELECTs for snapshots of topics")
        self.load_errors = self._counter("load_errors", "SELECTs that failed and are tried again")
        self.poisoned = self._counter("poisoned", "Keys whose rows are unreadable or too large")
        self.reload_seconds = Summary(
            "rowcast_reload_seconds",
            "SELECTs for changed keys, by table",
            ["table"],
            registry=self.registry,
        )
        self.snapshot_seconds = self._histograms(
            "snapshot_seconds", "SELECTs for snapshots of topics", _STAGE
        ).of()
        self.batch_keys = self._histograms("batch_keys", "Keys read by one SELECT", _KEYS).of()

    def _subscribers(self) -> None:
        self.subscribers = self._gauge("subscribers", "Connected subscribers")
        self.connections = self._tally("connections", "Subscribers that came, single reads too")
        self.slow = self._gauge("slow_subscribers", "Subscribers that take nothing at the moment")
        self.topics = self._gauge("topics", "Topics that somebody follows")
        self.messages = self._tally("messages", "Messages written to subscribers")
        self.sent = self._tally("sent_bytes", "Bytes written to subscribers")
        self.stalled = self._counter("stalled", "Subscribers closed because they stopped reading")
        self.unauthenticated = self._counter("unauthenticated", "Tokens refused")
        self.forbidden = self._counter("forbidden", "Topics refused to the holder of a token")
        self.over_limit = self._counter("over_limit", "Refusals because of a limit")
        self.resumed = self._counter("resumed", "Subscriptions that went on from their cursor")
        self.not_resumed = self._counter(
            "not_resumed", "Subscriptions whose cursor was too old, or none of this database"
        )

    def _instance(self) -> None:
        ProcessCollector(registry=self.registry)
        self.build = Info(
            "rowcast_build", "What runs here, and the name it goes by", registry=self.registry
        )
        self.ready = self._gauge("ready", "1 while this instance may be given subscribers")
        self.loop_lag = self._gauge(
            "loop_lag_seconds", "How much later than asked for the event loop last woke up"
        )

    def _database(self) -> None:
        self.drift = self._gauge("drift", "Differences between the triggers and the config")
        self.queue_usage = self._gauge(
            "notify_queue_usage_ratio", "Share of the cluster's NOTIFY queue in use, 0 to 1"
        )
        self.leading = self._gauge(
            "leading", "1 while this instance keeps writers of durable tables from notifying"
        )
        self.changes_lag = self._gauge(
            "changes_lag_seconds", "For how long what durable tables kept is waiting to be read"
        )

    def _stores(self) -> None:
        self.events = self._counter("events", "Rows of log tables that were settled and followed")
        self.missed = self._counter("missed", "Entries of logs whose rows cannot be named or read")
        self.log_positions = self._gauge(
            "log_lag_positions", "Numbers of the log from the last settled to the last seen"
        )
        self.log_seconds = self._gauge(
            "log_lag_seconds", "Age of the oldest entry of the log that is not settled"
        )
        self.log_held = self._gauge(
            "log_held",
            "1 for the transaction that has held the log for long",
            ["pid", "application", "gid"],
        )
        self.kept = self._gauge("kept_bytes", "Size of what is kept, by store", ["store"])
        self.kept_limit = self._gauge(
            "kept_limit_bytes", "What it may be: retention_size", ["store"]
        )

    def _times(self) -> None:
        self.last_latency = self._gauge(
            "last_latency_seconds",
            "From the last notification's arrival to its message being written",
        )
        self._latency = self._histograms(
            "latency_seconds",
            "From a change to its message being written, debounce included; since its write where"
            " that time is kept, else since its notification arrived",
            _LATENCY,
            ["table", "since"],
        )
        stages = self._histograms(
            "stage_seconds", "How long changes were at each stage", _STAGE, ["stage"]
        )
        self._capture, self._coalesce, self._load, self._send = map(stages.of, STAGES)

    def flushed(self, flush: Flush) -> None:
        """A batch was read and told."""
        latency = self._latency.of(flush.table, "write" if flush.durable else "notification")
        taken, sent = flush.taken, flush.sent
        self._coalesce.observe_all([taken - dirty.since for dirty in flush.dirty])
        latency.observe_all([sent - dirty.since + dirty.age for dirty in flush.dirty])
        self._load.observe(flush.loaded - flush.asked)
        self._send.observe(flush.sent - flush.loaded)
        self.batch_keys.observe(len(flush.dirty))
        self.reload_seconds.labels(flush.table).observe(flush.loaded - flush.asked)
        self.last_latency.set(flush.sent - flush.dirty[-1].since)

    def captured(self, ages: Sequence[float]) -> None:
        """Kept changes were read, so many seconds after they were written."""
        self._capture.observe_all(ages)

    def published(self, table: str, age: float) -> None:
        """A row of a log was told, so many seconds after it was written."""
        self._latency.of(table, "write").observe(age)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(f"rowcast_{name}", what, registry=self.registry)

    def _tally(self, name: str, what: str) -> Tally:
        return self.tallies.single(f"rowcast_{name}", what)

    def _gauge(self, name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"rowcast_{name}", what, labels, registry=self.registry)

    def _histograms(
        self, name: str, what: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> Histograms:
        return Histograms(f"rowcast_{name}", what, bounds, labels, registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
