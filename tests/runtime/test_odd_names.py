"""Programs whose names, or whose variables, have bytes in them that are no text."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from servers.otlp_receiver import receiver
from support.programs import NO_LIBRARIES, run

pytestmark = pytest.mark.programs

PROGRAM = """
import json, sqlite3, sys, urllib.request
import metertap

tap = metertap.instrument(json_port=0, prometheus=True, prometheus_port=0, history="kept.db")
metertap.record_tool_call("search", True, 1.0)
tap.flush(60_000)
scraped = urllib.request.urlopen(tap.prometheus_url + "/metrics").read().decode()
shown = json.load(urllib.request.urlopen(tap.json_url + "/metrics"))
tap.shutdown()
rows = sqlite3.connect("kept.db").execute("SELECT service FROM run").fetchone()
print(json.dumps([shown["service"]["name"], "search" in scraped, tap.diagnosis()["faults"], rows]))
"""


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "st?ck"),
        ({"OTEL_SERVICE_NAME": "sh\udcffop"}, "sh?op"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=t\udcffll,\udcff=\udcff"}, "t?ll"),
        ({"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}, "st?ck"),
    ],
)
def test_what_is_no_text_is_shown_kept_and_exported_with_a_question_mark(
    variables: dict[str, str], name: str, tmp_path: Path
) -> None:
    file = os.fsdecode(os.fsencode(tmp_path) + b"/st\xffck.py")
    Path(file).write_text(PROGRAM)
    with receiver() as collector:
        env = {**NO_LIBRARIES, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **variables}
        done = run(sys.executable, file, env=env, cwd=tmp_path)
    assert done.status == 0, done.told
    assert "Traceback" not in done.told
    assert json.loads(done.stdout) == [name, True, {}, [name]]
    assert collector.service_names() == {name}
