"""Interpreters that take warnings for errors: none is of metertap's making."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.programs import run

pytestmark = pytest.mark.programs

STRICT = ["-bb", "-X", "warn_default_encoding", "-W", "error"]
PROGRAM = """
import json, sys, urllib.request
import metertap

tap = metertap.instrument(json_port=0, prometheus=True, history=sys.argv[1])
import redis

@metertap.tool
def search():
    return 1

search()
tap.flush(60_000)
for address in (tap.json_url, tap.prometheus_url):
    with urllib.request.urlopen(address + "/metrics") as answer:
        answer.read()
calls = tap.snapshot()["tool_metrics"]["search"]["total_calls"]
print(json.dumps([tap.diagnosis()["faults"], calls]))
"""


def test_nothing_of_ours_warns_of_bytes_or_of_files_without_an_encoding(tmp_path: Path) -> None:
    env = {"OTEL_SERVICE_NAME": "shop"}
    done = run(sys.executable, *STRICT, "-c", PROGRAM, str(tmp_path / "h.db"), env=env)
    assert done.told == ""
    assert json.loads(done.stdout) == [{}, 1]
