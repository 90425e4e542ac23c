"""Which exporters the environment asks for."""

from __future__ import annotations

import pytest

from bridge.spans import _exporters, _resource

END = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "shop"}, []),
        (END, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector"}, ["otlp_proto_http"]),
        (END | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (END | {"OTEL_SDK_DISABLED": "TRUE"}, []),
        (END | {"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"]),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], exporters: list[str]) -> None:
    assert list(_exporters(environment)) == exporters


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _resource("b7f3", {}).attributes["service.name"] == "rowcast"
    assert _resource("b7f3", {}).attributes["service.instance.id"] == "b7f3"
    for given in ({"OTEL_SERVICE_NAME": "shop"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop"}):
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            assert _resource("b7f3", given).attributes["service.name"] == "shop"
