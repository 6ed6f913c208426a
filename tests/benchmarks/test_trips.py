"""The command that names the files which a call, a lookup, an alert and a setting pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]


def test_each_trip_lists_its_files() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.trips"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = {}
    for trip in done.stdout.strip().split("\n\n"):
        title, *files = trip.splitlines()
        count, _, name = title.strip().partition("  ")
        assert len(files) == int(count)
        assert all((ROOT / file.strip()).is_file() for file in files)
        found[name] = {Path(file.strip()).name for file in files}
    call, document, lookup, alert, setting = found.values()
    assert {"requests.py", "routes.py", "window.py", "histograms.py"} <= call < document | call
    assert {"cache_meter.py", "cache_series.py"} <= lookup
    assert {"counters.py", "evaluator.py", "receiver.py"} <= alert
    assert {"settings.py", "endpoint.py"} <= setting
    assert len(call) <= 12
    assert max(len(lookup), len(alert)) <= 6
    assert len(setting) <= 4
