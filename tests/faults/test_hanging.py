"""Faults of what metertap stands on: what hangs or cannot be had delays no end and no answer."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from servers.otlp_receiver import hanging_collector, unreachable_endpoint
from support.programs import RUN, Ended, ended, started

pytestmark = pytest.mark.programs

SLOW = 120
"""How many seconds what hangs does so; the whole test would."""
DELAYED = 15
"""More than the second that an end is delayed by, because the machine may be busy."""

PROGRAM = f"""
import logging, os, sys, threading, time
def hang(*_args, **_kwargs):
    time.sleep({SLOW})
{{before}}
import metertap
{{instrument}}
{{after}}

@metertap.tool
def search(text):
    return text.upper()

answers = [search(text) for text in "ab"]
print(answers, flush=True)
sys.stdin.read()
{{end}}
sys.exit(3)
"""
REPORTS_ERRORS = """
class Reporter(logging.Handler):
    def emit(self, record):
        if record.name == "metertap":
            hang()
logging.getLogger().addHandler(Reporter())
"""
BREAKS = """
from metertap.recording.tool_series import ToolSeries
ToolSeries.looked_up = ToolSeries.end = ToolSeries._take = lambda *_args, **_kwargs: 1 / 0
"""
HTTP = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
HANGING = {
    "a logging handler": (REPORTS_ERRORS, BREAKS),
    "a logging filter": ("logging.getLogger('metertap').addFilter(hang)", BREAKS),
    "an exporter's shutdown": (
        f"import {HTTP} as http; http.OTLPMetricExporter.shutdown = hang",
        "",
    ),
    "an exporter's export": (f"import {HTTP} as http; http.OTLPMetricExporter.export = hang", ""),
    "an exporter's flush": (
        f"import {HTTP} as http; http.OTLPMetricExporter.force_flush = hang",
        "metertap.get_all_metrics()",
    ),
    "the file of a history": ("import sqlite3; sqlite3.connect = hang", ""),
    "writing to a history": (
        "",
        "from metertap.history.store import Store; Store.write = hang",
    ),
    "prices of models": (
        "",
        "from metertap.costs.prices import Prices; Prices.cost = hang\n"
        "metertap.record_usage(provider='openai', model='gpt-4o', input_tokens=5)",
    ),
    "an observable of ours": (
        "",
        "from metertap.recording import Recorder; Recorder.active_calls = property(hang)",
    ),
}


def ends(code: str, tmp_path: Path, *before: str, **env: str) -> tuple[Ended, float]:
    """How the program ended, and how many seconds after its last line."""
    (tmp_path / "shop.py").write_text(code)
    with started([*before, sys.executable, str(tmp_path / "shop.py")], env=env) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == b"['A', 'B']\n"
        begun = time.perf_counter()
        return ended(process), time.perf_counter() - begun


@pytest.mark.parametrize("what", HANGING)
def test_what_hangs_delays_the_end_by_a_second_at_most(what: str, tmp_path: Path) -> None:
    before, after = HANGING[what]
    with hanging_collector() as endpoint:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
            "METERTAP_HISTORY": str(tmp_path / "history.db"),
        }
        code = PROGRAM.format(
            before=before, instrument="metertap.instrument()", after=after, end=""
        )
        found, seconds = ends(code, tmp_path, **env)
        _, unmeasured = ends(
            PROGRAM.format(before="", instrument="", after="", end=""), tmp_path, **env
        )
    assert found.status == 3
    assert seconds - unmeasured < DELAYED


UNLINK_HANGS = """
remove = os.unlink
def unlink(path, *args, **kwargs):
    if "/metertap/" in str(path) and str(path).endswith((".json", ".unserved")):
        hang()
    remove(path, *args, **kwargs)
"""


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="no thread starts while it ends: docs/reliability.md"
)
@pytest.mark.parametrize("measured", [(), RUN], ids=["instrument", "run"])
def test_a_listing_that_hangs_delays_the_end_of_an_idle_program(
    measured: tuple[str, ...], tmp_path: Path
) -> None:
    instrument = "" if measured else "import metertap; metertap.instrument()"
    code = f"import os, sys, time\n{instrument}\nprint(['A', 'B'], flush=True)\nsys.stdin.read()\n"
    hanging = f"def hang(): time.sleep({SLOW})\n{UNLINK_HANGS}os.unlink = unlink\nsys.exit(3)\n"
    found, seconds = ends(code + hanging, tmp_path, *measured)
    assert found.status == 3
    assert found.stderr == b""
    assert seconds < DELAYED


@pytest.mark.parametrize("when", ["after", "end"], ids=["as it is listed", "as it ends"])
def test_a_listing_that_hangs_delays_the_end_of_a_program_that_is_served(
    when: str, tmp_path: Path
) -> None:
    served, hangs = (
        "while tap.json_url is None: time.sleep(0.01)\n",
        f"{UNLINK_HANGS}os.unlink = unlink",
    )
    code = PROGRAM.format(
        before="",
        instrument="tap = metertap.instrument()",
        after=hangs if when == "after" else "",
        end=served if when == "after" else served + hangs,
    )
    found, seconds = ends(code, tmp_path)
    assert found.status == 3
    assert seconds < DELAYED


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="no thread starts while it ends: docs/reliability.md"
)
def test_totals_of_a_worker_that_cannot_be_written_delay_its_end(
    tmp_path: Path, free_port: int
) -> None:
    folder_hangs = (
        "usual = os.open\n"
        "def opens(path, *args, **kwargs):\n"
        "    if '/metertap/' in str(path): hang()\n"
        "    return usual(path, *args, **kwargs)\n"
        f"{UNLINK_HANGS}os.unlink, os.open = unlink, opens"
    )
    code = PROGRAM.format(
        before="",
        instrument="tap = metertap.instrument()",
        after="",
        end=f"while tap.json_url is None: time.sleep(0.01)\nsearch('c')\n{folder_hangs}",
    )
    found, seconds = ends(code, tmp_path, METRICS_JSON_PORT=str(free_port))
    assert found.status == 3
    assert seconds < DELAYED


@pytest.mark.faults
@pytest.mark.parametrize("module", ["wrapt", "opentelemetry.sdk.metrics", "opentelemetry.metrics"])
def test_what_cannot_be_imported_leaves_the_program_unmeasured(module: str, tmp_path: Path) -> None:
    code = PROGRAM.format(
        before=f"sys.modules[{module!r}] = None",
        instrument="metertap.instrument()",
        after="",
        end="",
    )
    found, _ = ends(code, tmp_path)
    assert found.status == 3
    # Without the API the rest of metertap works, and has a fault to tell; else nothing does.
    (told,) = found.told.splitlines()
    assert told.startswith("metertap: ")
    assert module.partition(".")[0] in told


def test_a_collector_that_refuses_a_short_run_is_told(tmp_path: Path) -> None:
    code = PROGRAM.format(
        before="", instrument="tap = metertap.instrument()", after="", end="tap.flush()"
    )
    code += "\n"
    found, seconds = ends(
        code,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=unreachable_endpoint(),
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    )
    assert found.told.count("metertap: OTLP: metrics could not be delivered") == 1
    assert seconds < DELAYED
