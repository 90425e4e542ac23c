"""The other workers on this port, as far as metrics are concerned.

Whoever asks for `/metrics` reaches one worker, which the system chose, and another the next
time: counters would seem to jump. So the one that is asked asks the others, by sockets in a
directory that they share, and answers for all of them, each sample with its `worker`. One
that does not answer in time is left out.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE = 2.0
"""Seconds that another worker has to answer."""


class Siblings:
    """`number` is this worker's; each listens in `directory` by the name of its number."""

    def __init__(self, directory: Path, number: int, text: Callable[[], bytes]) -> None:
        self._directory = directory
        self._own = directory / str(number)
        self._text = text

    async def start(self) -> None:
        self._own.unlink(missing_ok=True)  # of the worker whose place this one has taken
        self._server = await asyncio.start_unix_server(self._answer, self._own)

    def stop(self) -> None:
        self._server.close()
        self._own.unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(self._text())
            await writer.drain()
        writer.close()

    async def metrics(self) -> bytes:
        """The metrics of all workers that answer, in Prometheus's text format."""
        others = [path for path in sorted(self._directory.iterdir()) if path != self._own]
        texts = await asyncio.gather(*map(_ask, others))
        told = {path.name: text for path, text in zip(others, texts, strict=True) if text}
        return merged({self._own.name: self._text().decode(), **told})


async def _ask(path: Path) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""


def merged(texts: Mapping[str, str]) -> bytes:
    """Metrics of several processes → one text, in which each sample has the label `worker`."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for worker, text in self._texts.items():
            for read in text_string_to_metric_families(text):
                family = families.setdefault(
                    read.name, Metric(read.name, read.documentation, read.type)
                )
                for sample in read.samples:
                    labels = {**sample.labels, "worker": worker}
                    family.add_sample(sample.name, labels, sample.value)
        yield from families.values()
