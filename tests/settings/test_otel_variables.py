"""OpenTelemetry's own variables, as its specification defines them."""

from __future__ import annotations

import pytest

import metertap
from metertap.settings import settings
from support.warned import warnings_of

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
METRICS_PROTOCOL = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"
EXPORTER = "OTEL_METRICS_EXPORTER"


@pytest.mark.parametrize(
    ("environ", "otlp", "prometheus"),
    [
        ({}, False, False),
        ({ENDPOINT: "http://c:4318"}, True, False),
        ({METRICS_ENDPOINT: "http://c:4318/v1/metrics"}, True, False),
        ({EXPORTER: "otlp"}, True, False),
        ({EXPORTER: "none", ENDPOINT: "http://c:4318"}, False, False),
        ({EXPORTER: "none,otlp,prometheus"}, False, False),
        ({EXPORTER: "prometheus", ENDPOINT: "http://c:4318"}, False, True),
        ({EXPORTER: "OTLP , prometheus"}, True, True),
        ({EXPORTER: "metertap_json,metertap_prometheus"}, False, True),
        ({EXPORTER: "console"}, False, False),
        ({EXPORTER: "prometheus", "PROMETHEUS_ENABLED": "false"}, False, False),
        ({EXPORTER: "none", "PROMETHEUS_ENABLED": "true"}, False, True),
    ],
)
def test_exporters_follow_the_list_and_else_the_endpoint(
    environ: dict[str, str], otlp: bool, prometheus: bool
) -> None:
    found = settings.read(environ=environ)
    assert (found.otlp, found.prometheus) == (otlp, prometheus)


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({}, "http/protobuf"),
        ({ENDPOINT: "http://c:4318"}, "http/protobuf"),
        ({ENDPOINT: "http://c:4317"}, "grpc"),
        ({ENDPOINT: "c:4317"}, "grpc"),
        ({ENDPOINT: "http://c:4318", METRICS_ENDPOINT: "http://c:4317"}, "grpc"),
        ({ENDPOINT: "http://c:4317", PROTOCOL: "http/protobuf"}, "http/protobuf"),
        ({PROTOCOL: "http/protobuf", METRICS_PROTOCOL: "grpc"}, "grpc"),
        ({EXPORTER: "otlp_proto_grpc", PROTOCOL: "http/protobuf"}, "grpc"),
        ({EXPORTER: "otlp_proto_http", ENDPOINT: "http://c:4317"}, "http/protobuf"),
        ({ENDPOINT: "http://[c:4317"}, "http/protobuf"),
    ],
)
def test_the_protocol_is_what_is_named_and_else_what_the_port_is_known_for(
    environ: dict[str, str], protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.read(environ=environ).otlp_protocol == protocol
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("variable", [PROTOCOL, METRICS_PROTOCOL])
def test_an_unknown_protocol_is_one_warning_that_names_its_variable(
    variable: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings.read(environ={variable: "http/json", ENDPOINT: "http://c:4317"})
    assert found.otlp_protocol == "grpc"
    assert warnings_of(caplog) == [
        f"{variable}='http/json' cannot be used (grpc or http/protobuf is needed); "
        "'grpc' is used instead"
    ]


@pytest.mark.parametrize(
    ("options", "environ", "because"),
    [
        ({}, {"OTEL_SDK_DISABLED": "TRUE"}, "OTEL_SDK_DISABLED is true"),
        ({}, {"PERFORMANCE_METRICS_ENABLED": "off"}, "PERFORMANCE_METRICS_ENABLED is false"),
        ({"enabled": False}, {}, "enabled is false"),
        # The endpoint's defect is the exporter's to tell of.
        ({}, {"OTEL_SDK_DISABLED": "true", ENDPOINT: "http://c:port"}, "OTEL_SDK_DISABLED is true"),
    ],
)
def test_what_disables_measuring_is_known(
    options: dict[str, bool], environ: dict[str, str], because: str
) -> None:
    found = settings.read(options, environ)
    assert found.enabled is False
    assert found.disabled_because == because


def test_an_exporter_that_is_not_installed_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    found = settings.read(environ={EXPORTER: "promethius,console,otlp"})
    assert found.otlp
    assert warnings_of(caplog) == [f"{EXPORTER}: no exporter 'promethius' is installed"]


def test_a_misspelt_instrumentation_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # OpenTelemetry's variable is every package's: it may name what we have never heard of.
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "flask")
    with metertap.instrument(disabled_instrumentations=["langchian", "mcp", "system_metrics"]):
        assert warnings_of(caplog) == [
            "there is no instrumentation 'langchian' to disable; did you mean langchain?"
        ]


def test_instrumentations_are_disabled_by_either_variable() -> None:
    found = settings.read(
        environ={
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis, mcp",
            "METERTAP_DISABLED_INSTRUMENTATIONS": "fastmcp",
        }
    )
    disabled = filter(found.is_disabled, ("cashews", "fastmcp", "mcp", "redis"))
    assert list(disabled) == ["fastmcp", "mcp", "redis"]


def test_a_disabled_instrumentation_patches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "mcp")
    with metertap.instrument() as tap:
        instrumentations = tap.diagnosis()["instrumentations"]
    mcp = next(item for item in instrumentations if item["name"] == "mcp")
    assert mcp["state"] == "switched off"
    assert not any(patch["bound"] for patch in mcp["patches"])


def test_resource_attributes_are_decoded() -> None:
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=my%20shop, team = a=b ,,broken"}
    found = settings.read(environ=environ).resource_from_environment
    assert found == {"service.name": "my shop", "team": "a=b", "broken": ""}


def test_the_service_name_variable_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert metertap.get_all_metrics()["service"]["name"] == "shop"
