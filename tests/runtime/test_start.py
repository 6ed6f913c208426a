"""What the start of measuring leaves for later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_what_only_views_or_costs_need_is_not_imported_at_the_start(tmp_path: Path) -> None:
    program = """
import sys, wsgiref.simple_server, opentelemetry.sdk.metrics, wrapt
before = set(sys.modules)
import metertap
tap = metertap.instrument(json_port=0)
new = sys.modules.keys() - before
late = {"metertap.recording.usage_series", "concurrent.futures.thread", "decimal"}
assert tap.is_active and "metertap_exporters.json.reader" in new
print(*sorted(late & new))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
