"""Traces for OpenTelemetry: a span for each batch, from its first change to its last message.

Its stages are spans below it, and its attributes say which table, how many keys and messages, and
the version that the messages carry. Never one for each row: a span costs more than a message.

The `OTEL_*` variables of the environment decide, as OpenTelemetry has standardised them. Unless one
of them names an exporter or an endpoint, nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import logging
import os
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from bridge import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.trace import Tracer

    from bridge.flush import Flush

log = logging.getLogger(__name__)

NAME = "rowcast"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class Spans:
    """Spans of one bridge, made when a batch is done: until then nothing is held."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        self._within = trace.set_span_in_context
        self._inner, self._client = trace.SpanKind.INTERNAL, trace.SpanKind.CLIENT

    def flushed(self, flush: Flush) -> None:
        """The flush's times are the loop's; it was over just now."""
        start = time.time_ns() - round(flush.sent * 1e9)
        span = self._tracer.start_span(
            "flush", start_time=start + _ns(flush.written), attributes=_attributes(flush)
        )
        if span.is_recording():
            for stage, begin, end in _stages(flush):
                reads = stage == "load"
                self._tracer.start_span(
                    stage,
                    context=self._within(span),
                    kind=self._client if reads else self._inner,
                    start_time=start + _ns(begin),
                    attributes={"db.system.name": "postgresql"} if reads else None,
                ).end(start + _ns(end))
        span.end(start + _ns(flush.sent))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _attributes(flush: Flush) -> dict[str, str | int | bool]:
    return {
        "rowcast.table": flush.table,
        "rowcast.durable": flush.durable,
        "rowcast.keys": len(flush.dirty),
        "rowcast.messages": flush.messages,
        "rowcast.version": flush.version,
    }


def _stages(flush: Flush) -> Iterator[tuple[str, float, float]]:
    """As `rowcast_stage_seconds` has them; of the oldest change, where each has its own."""
    if flush.durable:
        yield "capture", flush.written, flush.began
    yield "coalesce", flush.began, flush.taken
    yield "load", flush.asked, flush.loaded
    yield "send", flush.loaded, flush.sent


# What the environment asks for.


def configured(
    instance: str, environment: Mapping[str, str] = os.environ
) -> Callable[[Flush], None] | None:
    """What to call with each batch; None where nobody asked for traces."""
    exporters = list(_exporters(environment))
    if not exporters:
        return None
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("traces are asked for; install rowcast[tracing]")
        return None
    provider = TracerProvider(resource=_resource(instance, environment))
    for exporter in exporters:
        if (made := _made(exporter)) is not None:
            provider.add_span_processor(BatchSpanProcessor(made))
    return Spans(provider.get_tracer(NAME, __version__)).flushed


def _exporters(environment: Mapping[str, str]) -> Iterator[str]:
    """Names of entry points."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    asked = environment.get("OTEL_TRACES_EXPORTER", "")
    if not asked and any(environment.get(name) for name in _ENDPOINTS):
        asked = "otlp"
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "")
    for name in filter(None, map(str.strip, asked.split(","))):
        if name == "otlp":
            yield _OTLP.get(protocol, "otlp_proto_http")
        elif name != "none":
            yield name


def _made(exporter: str) -> Any:
    found = list(entry_points(group="opentelemetry_traces_exporter", name=exporter))
    if not found:
        log.warning("no such exporter of traces is installed", extra={"exporter": exporter})
        return None
    return found[0].load()()


def _resource(instance: str, environment: Mapping[str, str]) -> Any:
    """What the environment says of the service goes before what we know."""
    from opentelemetry.sdk.resources import Resource

    known = {"service.version": __version__, "service.instance.id": instance}
    given = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not environment.get("OTEL_SERVICE_NAME") and "service.name=" not in given:
        known["service.name"] = NAME
    return Resource.create(
        {name: value for name, value in known.items() if f"{name}=" not in given}
    )
