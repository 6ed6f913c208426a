"""OpenTelemetry's own zero-code ways, each in a process of its own."""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from servers.otlp_receiver import receiver
from support.programs import run

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

OPENTELEMETRY_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

needs_distro = pytest.mark.skipif(
    find_spec("opentelemetry.distro") is None, reason="opentelemetry-distro is not installed"
)
needs_configuration = pytest.mark.skipif(
    find_spec("opentelemetry.configuration") is None,
    reason="opentelemetry-configuration is not installed",
)

# No line of metertap's own set-up in it: only a tool, and a look at what was made of it.
APPLICATION = """
import json, time, urllib.request
import metertap
from metertap.runtime.tap import active_tap

@metertap.tool
def search():
    pass

search()
tap = active_tap()
pipeline = tap.pipeline
found = {"readers": pipeline.readers(), "service": tap.snapshot()["service"]}
for name, view in (("json", pipeline.json), ("prometheus", pipeline.prometheus)):
    url = view.endpoint.wait(60) if view is not None else None
    if url is not None:
        with urllib.request.urlopen(url + "/metrics") as answer:
            found[name] = [url, answer.read().decode()]
stock = [name for name, _ in pipeline.readers() if name == "_AutoPrometheusMetricReader"]
if stock:
    with urllib.request.urlopen("http://127.0.0.1:PORT/metrics") as answer:
        found["stock"] = answer.read().decode()
print(json.dumps(found))
"""


def _instrumented(
    tmp_path: Path, exporters: str, stock_port: int = 0, **env: str
) -> dict[str, Any]:
    application = tmp_path / "shop.py"
    application.write_text(APPLICATION.replace("PORT", str(stock_port)), encoding="utf-8")
    done = run(
        OPENTELEMETRY_INSTRUMENT,
        sys.executable,
        str(application),
        env={
            "OTEL_METRICS_EXPORTER": exporters,
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            **env,
        },
    )
    assert done.status == 0, done.told
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _calls(found: dict[str, Any]) -> int:
    calls: int = json.loads(found["json"][1])["tool_metrics"]["search"]["total_calls"]
    return calls


@needs_distro
def test_the_json_reader_by_name(tmp_path: Path) -> None:
    found = _instrumented(tmp_path, "metertap_json")
    assert _calls(found) == 1
    assert found["readers"] == [["JsonReader", False]]


@needs_distro
def test_both_readers_by_name_serve_our_views(tmp_path: Path) -> None:
    found = _instrumented(tmp_path, "metertap_json,metertap_prometheus")
    assert _calls(found) == 1
    text = found["prometheus"][1]
    assert "metertap_tool_latency_seconds_count" in text
    assert "gen_ai_execute_tool_duration_seconds_count" in text
    assert [name for name, _ in found["readers"]] == ["JsonReader", "PrometheusReader"]


@needs_distro
def test_the_stock_prometheus_reader_is_left_to_serve_alone(tmp_path: Path, free_port: int) -> None:
    found = _instrumented(
        tmp_path, "prometheus", free_port, OTEL_EXPORTER_PROMETHEUS_PORT=str(free_port)
    )
    assert "gen_ai_execute_tool_duration_seconds_count" in found["stock"]
    assert "prometheus" not in found
    assert _calls(found) == 1  # the JSON view is added: nobody else has it


@needs_distro
def test_otlp_goes_on_beside_our_readers_and_is_not_doubled(tmp_path: Path) -> None:
    with receiver() as collector:
        found = _instrumented(
            tmp_path,
            "metertap_json,otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
        assert _calls(found) == 1
        (metric,) = collector.metrics("gen_ai.execute_tool.duration")
    assert [point.count for point in metric.histogram.data_points] == [1]


@needs_distro
def test_the_service_is_named_by_the_application_s_own_resource(tmp_path: Path) -> None:
    found = _instrumented(tmp_path, "metertap_json", OTEL_SERVICE_NAME="till")
    assert found["service"]["name"] == "till"


@needs_distro
@needs_configuration
def test_a_pull_reader_in_the_declarative_file(tmp_path: Path, free_port: int) -> None:
    configuration = tmp_path / "otel.yaml"
    configuration.write_text(
        f"""
file_format: "1.0"
meter_provider:
  readers:
    - pull:
        exporter:
          metertap_json:
            port: {free_port}
    - pull:
        exporter:
          metertap_prometheus:
""",
        encoding="utf-8",
    )
    found = _instrumented(tmp_path, "none", OTEL_CONFIG_FILE=str(configuration))
    assert _calls(found) == 1
    assert found["json"][0] == f"http://127.0.0.1:{free_port}"
    assert "metertap_tool_latency_seconds_count" in found["prometheus"][1]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("opentelemetry_instrumentor", {"metertap"}),
        ("opentelemetry_metrics_exporter", {"metertap_json", "metertap_prometheus"}),
        ("opentelemetry_pull_metric_exporter", {"metertap_json", "metertap_prometheus"}),
    ],
)
def test_every_entry_point_loads(group: str, names: set[str]) -> None:
    ours = [item for item in entry_points(group=group) if item.value.startswith("metertap")]
    assert {item.name for item in ours} == names
    for item in ours:
        assert callable(item.load())
