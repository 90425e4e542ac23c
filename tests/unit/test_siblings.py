"""The metrics of several workers as one text that Prometheus takes."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bridge.gateways.siblings import merged
from bridge.metrics import Metrics


def test_each_sample_says_whose_it_is_and_each_family_comes_once() -> None:
    workers = {"1": Metrics(), "2": Metrics()}
    for number, metrics in workers.items():
        metrics.messages.inc(int(number))
        metrics.snapshot_seconds.observe(0.003)
    text = merged({number: metrics.text().decode() for number, metrics in workers.items()}).decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    samples = {
        (sample.name, sample.labels["worker"]): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["rowcast_messages_total", "1"] == 1
    assert samples["rowcast_messages_total", "2"] == 2
    assert samples["rowcast_snapshot_seconds_count", "2"] == 1


def test_nothing_is_lost_but_the_label_is_added() -> None:
    metrics = Metrics()
    metrics.sent.inc(5)

    def lines(text: bytes) -> list[str]:
        return [line for line in text.decode().splitlines() if not line.startswith("#")]

    told = lines(merged({"7": metrics.text().decode()}))
    assert len(told) == len(lines(metrics.text()))
    assert all('worker="7"' in line for line in told)
