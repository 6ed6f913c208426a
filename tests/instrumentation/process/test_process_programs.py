"""Metrics of the process in programs of their own: a late import, zero code, no extra."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import environments
from support.programs import run

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

pytest.importorskip("opentelemetry.instrumentation.system_metrics")


def test_instrument_does_not_import_it_and_a_call_does_not_wait_for_it() -> None:
    program = """
import sys, threading
import metertap
from metertap_instrumentation.process import process_metrics
with process_metrics._loading:  # as long as it takes
    tap = metertap.instrument()
    before = [name for name in sys.modules if "system_metrics" in name]
    metertap.record_tool_call("search", True, 1.0)
    during = [name for name in sys.modules if "system_metrics" in name]
assert tap.pipeline.process_metrics.wait(60)
print(before, during, "opentelemetry.instrumentation.system_metrics" in sys.modules)
"""
    done = run(sys.executable, "-c", program)
    assert (done.status, done.stdout, done.stderr) == (0, b"[] [] True\n", b"")


def test_a_program_that_ends_at_once_ends_quietly() -> None:
    program = "import metertap; metertap.instrument(); metertap.record_tool_call('a', True, 1.0)"
    for _ in range(5):
        done = run(sys.executable, "-c", program)
        assert (done.status, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("disabled", [False, True], ids=["on", "disabled"])
def test_zero_code_has_each_metric_once(disabled: bool, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.distro")
    application = tmp_path / "shop.py"
    application.write_text(
        """
import os, urllib.request
import metertap
tap = metertap.instrument()
metertap.record_tool_call("search", True, 1.0)
disabled = bool(os.environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"])
assert tap.pipeline.process_metrics.wait(0 if disabled else 60) is not disabled
with urllib.request.urlopen(tap.pipeline.prometheus.endpoint.wait(60) + "/metrics") as answer:
    print(answer.read().decode())
""",
        encoding="utf-8",
    )
    done = run(
        str(Path(sys.executable).with_name("opentelemetry-instrument")),
        sys.executable,
        str(application),
        env={
            "OTEL_METRICS_EXPORTER": "metertap_prometheus",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "system_metrics" if disabled else "",
        },
    )
    assert done.status == 0, done.told
    lines = done.stdout.decode().splitlines()
    times = [line for line in lines if line.startswith("process_cpu_time_seconds_total{")]
    assert len(times) == (0 if disabled else 2)
    assert all('otel_scope_name="opentelemetry.' in line for line in times)


def test_without_the_extra_nothing_is_reported_and_nothing_is_wrong(tmp_path: Path) -> None:
    program = """
import sys, threading
import metertap
with metertap.instrument() as tap:
    metertap.record_tool_call("search", True, 1.0)
    names = [thread.name for thread in threading.enumerate()]
    assert "metertap-process" not in names, names
    assert "gc" in tap.snapshot()["system_metrics"]["process"]
    report = tap.diagnosis()
    print(report["process_metrics"]["state"], report["faults"], "psutil" in sys.modules)
"""
    python = environments.core(tmp_path / "environment")
    done = run(python, "-c", program)
    assert (done.status, done.told) == (0, "")
    assert done.stdout == b"not installed {} False\n"
    doctor = subprocess.run(
        [python, "-m", "metertap", "doctor", "--all"], capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 0, doctor.stderr
    hint = r"process metrics +not installed: (uv )?pip install .*\[system\]"
    assert re.search(hint, doctor.stdout), doctor.stdout
