"""Tests of the program's replace functions of Python's; metertap's threads call the real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port

PROGRAM = """
import builtins, json, os, sys, threading, time
from contextlib import ExitStack
from http.client import HTTPConnection
from unittest import mock

import metertap

port = int(sys.argv[1])
tap = metertap.instrument(
    json_port=port,
    history=sys.argv[2],
    announce=False,
    disabled_instrumentations=["system_metrics"],  # its psutil opens files by the replaced `open`
)


@metertap.tool
def price():
    return 3


def answered():
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    return json.loads(connection.getresponse().read())["tool_metrics"]["price"]["total_calls"]


price()
answered()
replaced = [(builtins, "open"), (os, "fstat"), (os, "listdir"), (os, "lstat"),
            (time, "monotonic")]
pause = threading.Event().wait
with ExitStack() as stack:
    mocks = [stack.enter_context(mock.patch.object(*it, side_effect=OSError(9, it[1])))
             for it in replaced]
    price()
    pause(1.5)
    answered()
    calls = [it.mock_calls for it in mocks]
price()
print(json.dumps({
    "calls": [str(it) for it in calls if it],
    "answered": answered(),
    "faults": tap.diagnosis()["faults"],
}))
"""


FAKE_FILES = """
import json, os, sys, threading
from http.client import HTTPConnection

import metertap
from pyfakefs.fake_filesystem_unittest import Patcher

port = int(sys.argv[1])
tap = metertap.instrument(json_port=port, history=sys.argv[2], announce=False)
metertap.record_tool_call("price", True, 1.0)
tap.flush()
pause = threading.Event().wait
with Patcher():
    metertap.record_tool_call("price", True, 1.0)
    pause(1.5)
    tap.flush()
    files = [name for _, _, names in os.walk("/") for name in names]
connection = HTTPConnection("127.0.0.1", port, timeout=60)
connection.request("GET", "/metrics")
found = json.loads(connection.getresponse().read())["tool_metrics"]
print(json.dumps({
    "files": files,
    "calls": found["price"]["total_calls"],
    "faults": tap.diagnosis()["faults"],
}))
"""


FIRST = """
import builtins, json, os, sys, time
from contextlib import ExitStack
from unittest import mock

import metertap
import opentelemetry.sdk.metrics.export  # which keeps the functions that it finds

with ExitStack() as stack:
    for it in [(builtins, "open"), (os, "lstat"), (time, "monotonic"), (time, "perf_counter")]:
        stack.enter_context(mock.patch.object(*it, side_effect=OSError(9, it[1])))
    tap = metertap.instrument(json_port=int(sys.argv[1]), announce=False)

    @metertap.tool
    def price():
        return 3


price()
found = tap.snapshot()
print(json.dumps({
    "calls": found["tool_metrics"]["price"]["total_calls"],
    "is_resident": found["system_metrics"]["process"]["resident_bytes"] is not None,
    "faults": tap.diagnosis()["faults"],
}))
"""


NO_SOCKETS = """
import json, socket, subprocess, sys
from unittest import mock

import metertap

with mock.patch.object(socket, "socket"):
    import metertap.native
tap = metertap.instrument(json_port=int(sys.argv[1]), announce=False)
metertap.record_tool_call("price", True, 1.0)
ask = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{sys.argv[1]}/metrics', timeout=60)"


def asks():
    return subprocess.run([sys.executable, "-c", ask], check=False).returncode


asks()
with mock.patch.object(socket, "socket", side_effect=RuntimeError("blocked")) as replaced:
    statuses = [asks()]
statuses.append(asks())
faults = tap.diagnosis()["faults"]
print(json.dumps({"calls": len(replaced.mock_calls), "statuses": statuses, "faults": faults}))
"""


def run(program: str, folder: Path) -> Any:
    finished = subprocess.run(
        [sys.executable, "-c", program, str(free_port()), str(folder / "kept.db")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert finished.stderr == ""
    return json.loads(finished.stdout)


def test_threads_of_metertap_call_no_function_that_a_test_has_replaced(tmp_path: Path) -> None:
    assert run(PROGRAM, tmp_path) == {"calls": [], "answered": 3, "faults": {}}


def test_metertap_may_be_first_used_while_functions_are_replaced(tmp_path: Path) -> None:
    assert run(FIRST, tmp_path) == {"calls": 1, "is_resident": True, "faults": {}}


def test_a_made_up_file_system_closes_no_port_and_gets_no_file(tmp_path: Path) -> None:
    pytest.importorskip("pyfakefs")
    assert run(FAKE_FILES, tmp_path) == {"files": [], "calls": 2, "faults": {}}


def test_a_port_answers_while_a_test_allows_no_sockets(tmp_path: Path) -> None:
    assert run(NO_SOCKETS, tmp_path) == {"calls": 0, "statuses": [0, 0], "faults": {}}
