"""The dashboard and the alerts that are shipped: they ask for what there is, and fire when they
should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rowcast.rules.yml"
CASES = RULES.with_name("rowcast.rules.test.yml")


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "rowcast.json").read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def asked() -> Iterator[str]:
    """Every query of the dashboard."""
    found = dashboard()
    for panel in found["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in found["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_the_dashboard_asks_for_what_there_is() -> None:
    queries = list(asked())
    named = {name for query in queries for name in metrics.named(query)}
    assert all(map(metrics.named, queries))
    assert {name for name in named if name.startswith("rowcast_")} <= metrics.samples()
    assert {name for name in named if name.startswith("process_")} == {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    }


def test_the_dashboard_shows_everything() -> None:
    """But for what another panel says better."""
    named = {name for query in asked() for name in metrics.named(query)}
    shown = {name for name in metrics.families() if any(one.startswith(name) for one in named)}
    own = {name for name in metrics.families() if name.startswith("rowcast_")}
    assert own - shown == {"rowcast_last_latency_seconds"}


def test_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard()["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_asks_for_what_there_is_and_says_what_to_do() -> None:
    for alert in alerts():
        assert metrics.named(alert["expr"]) <= metrics.samples()
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} == set(alert["annotations"])


def test_every_alert_has_a_case() -> None:
    cases = CASES.read_text(encoding="utf-8")
    fired = {
        alert["alert"]
        for alert in alerts()
        if f'{{alertname="{alert["alert"]}",alertstate="firing",severity' in cases
    }
    assert fired == {alert["alert"] for alert in alerts()}


@pytest.mark.skipif(metrics.PROMTOOL is None, reason=metrics.MISSING)
def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    assert f"{len(alerts())} rules found" in metrics.promtool(
        RULES.parent, "check", "rules", RULES.name
    )
    metrics.promtool(RULES.parent, "test", "rules", CASES.name)


@pytest.mark.skipif(metrics.PROMTOOL is None, reason=metrics.MISSING)
def test_prometheus_understands_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, which is how promtool is given queries."""
    plain = [
        query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
        for query in asked()
        if not query.startswith("label_values")
    ]
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(plain)]
    text = yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    (tmp_path / "panels.yml").write_text(text, encoding="utf-8")
    metrics.promtool(tmp_path, "check", "rules", "panels.yml")
