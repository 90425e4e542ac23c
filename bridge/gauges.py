"""What Prometheus is told of a bridge's state at the moment it asks, rather than as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.durable import Durable
    from bridge.flow import Flow
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.metrics import Metrics


def observe(
    metrics: Metrics,
    instance: str,
    hub: Hub,
    health: Health,
    flows: Callable[[], Iterable[Flow]],
    durable: Callable[[], Durable | None],
) -> None:
    """`flows` and `durable` may be others with each config that is served."""
    metrics.build.info({"version": __version__, "name": instance})
    metrics.ready.set_function(lambda: health.ready)
    metrics.subscribers.set_function(lambda: hub.subscribers)
    metrics.slow.set_function(lambda: _slow(hub))
    metrics.topics.set_function(lambda: hub.topics)
    metrics.dirty.set_function(lambda: sum(len(flow.keys) for flow in flows()))
    metrics.leading.set_function(lambda: _leads(durable()))
    metrics.changes_lag.set_function(lambda: _lag(durable()))
    metrics.tallies.read(
        "rowcast_conflated",
        "Unsent messages that gave way to a newer one of their key",
        lambda: hub.conflated + sum(mailbox.conflated for mailbox in hub.mailboxes),
    )


def _slow(hub: Hub) -> int:
    return sum(mailbox.sink.stalled_since is not None for mailbox in hub.mailboxes)


def _leads(durable: Durable | None) -> bool:
    return durable is not None and durable.pacing.leading


def _lag(durable: Durable | None) -> float:
    return 0.0 if durable is None else durable.feed.lag
