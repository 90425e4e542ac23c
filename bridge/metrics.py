"""What an instance counts, for Prometheus. Each bridge has a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Every metric of one bridge; names carry the unit, times are seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.notifications = self._counter("notifications", "Notifications received")
        self.malformed = self._counter("malformed", "Notifications no trigger of ours wrote")
        self.changes = self._counter("changes", "Changed keys named by notifications")
        self.gaps = self._counter("gaps", "Stretches in which changes may have been missed")
        self.reloads = self._counter("reloads", "SELECTs for changed keys")
        self.snapshots = self._counter("snapshots", "SELECTs for snapshots of topics")
        self.load_errors = self._counter("load_errors", "SELECTs that failed and are tried again")
        self.poisoned = self._counter("poisoned", "Keys that PostgreSQL refused to read")
        self.messages = self._counter("messages", "Messages written to subscribers")
        self.sent = self._counter("sent_bytes", "Bytes written to subscribers")
        self.stalled = self._counter("stalled", "Subscribers closed because they stopped reading")
        self.unauthenticated = self._counter("unauthenticated", "Tokens refused")
        self.forbidden = self._counter("forbidden", "Topics refused to the holder of a token")
        self.over_limit = self._counter("over_limit", "Refusals because of a limit")
        self.subscribers = self._gauge("subscribers", "Connected subscribers")
        self.topics = self._gauge("topics", "Topics that somebody follows")
        self.dirty = self._gauge("dirty_keys", "Keys that changed and were not read yet")
        self.ready = self._gauge("ready", "1 while this instance may be given subscribers")
        self.repairs = self._counter(
            "reconcile_repairs", "Changes that no notification told of, found by reconcile"
        )
        self.events = self._counter("events", "Rows of log tables that were settled and followed")
        self.missed = self._counter("missed", "Entries of logs whose rows cannot be named or read")
        self.log_positions = self._gauge(
            "log_lag_positions", "Numbers of the log from the last settled to the last seen"
        )
        self.log_seconds = self._gauge(
            "log_lag_seconds", "Age of the oldest entry of the log that is not settled"
        )
        self.log_held = Gauge(
            "rowcast_log_held",
            "1 for the transaction that has held the log for long",
            ["pid", "application", "gid"],
            registry=self.registry,
        )
        self.drift = self._gauge("drift", "Differences between the triggers and the config")
        self.queue_usage = self._gauge(
            "notify_queue_usage_ratio", "Share of the cluster's NOTIFY queue in use, 0 to 1"
        )
        self.kept = Gauge(
            "rowcast_kept_bytes",
            "Size of what is kept, by store",
            ["store"],
            registry=self.registry,
        )
        self.resumed = self._counter("resumed", "Subscriptions that went on from their cursor")
        self.not_resumed = self._counter(
            "not_resumed", "Subscriptions whose cursor was too old, or none of this database"
        )
        self.last_latency = self._gauge(
            "last_latency_seconds",
            "From the last notification's arrival to its message being written",
        )
        self.latency = Histogram(
            "rowcast_latency_seconds",
            "From a notification's arrival to its message being written, debounce included",
            buckets=_LATENCY,
            registry=self.registry,
        )

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(f"rowcast_{name}", what, registry=self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"rowcast_{name}", what, registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
