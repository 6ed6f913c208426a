"""What `opentelemetry-instrument` and the declarative file tell metertap, and what doctor says."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from metertap import state
from metertap.runtime.tap import active_tap
from metertap.runtime.zero_code import MetertapInstrumentor
from support.programs import Ended, run

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

needs_distro = pytest.mark.skipif(
    find_spec("opentelemetry.distro") is None or find_spec("opentelemetry.configuration") is None,
    reason="opentelemetry-distro or opentelemetry-configuration is not installed",
)

OPENTELEMETRY_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
APPLICATION = """
import json
import metertap
from metertap.runtime.tap import active_tap

metertap.record_tool_call("search", True, 1.0)
print(json.dumps(active_tap().diagnosis()))
"""


def instrumented(folder: Path, **env: str) -> Ended:
    (folder / "shop.py").write_text(APPLICATION, encoding="utf-8")
    quiet = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    return run(
        OPENTELEMETRY_INSTRUMENT, sys.executable, "shop.py", env={**quiet, **env}, cwd=folder
    )


def diagnosis(program: Ended) -> dict[str, Any]:
    assert program.status == 0, program.told
    found: dict[str, Any] = json.loads(program.stdout)
    return found


@needs_distro
def test_doctor_says_that_the_stock_exporter_serves(tmp_path: Path) -> None:
    env = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    found = diagnosis(instrumented(tmp_path, **env))
    assert [item["name"] for item in found["endpoints"]] == ["json"]
    assert found["readers"][0] == {
        "reader": "_AutoPrometheusMetricReader",
        "added_by": "application",
    }
    assert found["notes"] == [
        "the application exports Prometheus itself: no second endpoint, and so no "
        "summary and hit-ratio views"
    ]


@needs_distro
def test_doctor_says_that_ours_serves(tmp_path: Path) -> None:
    program = instrumented(tmp_path, OTEL_METRICS_EXPORTER="metertap_prometheus")
    found = diagnosis(program)
    assert [item["name"] for item in found["endpoints"]] == ["json", "prometheus"]
    assert found["notes"] == []
    assert program.told == ""


@needs_distro
def test_the_declarative_file_gives_keywords_and_says_what_is_exported(tmp_path: Path) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text(
        """
file_format: "1.0"
meter_provider:
  readers:
    - pull: {exporter: {metertap_json: {port: 0}}}
instrumentation/development:
  python:
    metertap: {window_size: 7}
""",
        encoding="utf-8",
    )
    # A variable that would turn OTLP on is one that the file replaces. The distribution sets it.
    program = instrumented(tmp_path, OTEL_CONFIG_FILE=str(file), OTEL_METRICS_EXPORTER="otlp")
    found = diagnosis(program)
    assert found["settings"]["window_size"]["value"] == 7
    assert [item["reader"] for item in found["readers"]] == ["JsonReader"]
    assert found["otlp"] is None
    assert "metertap" not in program.told
    assert "OTLP" not in program.told


def test_what_a_loader_adds_for_itself_is_no_setting(caplog: pytest.LogCaptureFixture) -> None:
    MetertapInstrumentor().instrument(skip_dep_check=True, window_size=7)
    assert state.settings().window_size == 7
    MetertapInstrumentor().instrument(skip_dep_check=True)  # the loader, after the file
    assert caplog.records == []
    MetertapInstrumentor().uninstrument()
    assert active_tap() is None
