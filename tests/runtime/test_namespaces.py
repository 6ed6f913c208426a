"""Processes that share a runtime folder, and each have ids of their own, as in containers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import metertap
from metertap.runtime import running
from metertap.settings import runtime_folder
from metertap.workers import members
from support.ports import free_port
from support.programs import started
from support.waiting import wait_for

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
INNER = """
import json, sys, metertap
from metertap.runtime import running

with metertap.instrument(service_name="shop", announce=False, prometheus=False) as tap:
    for _ in range(5):
        metertap.record_tool_call("search", True, 1.0)
    tools = tap.snapshot()["tool_metrics"]
    found = [process.pid for process in running.running()]
    print(json.dumps([tools["search"]["total_calls"], found]), flush=True)
    sys.stdin.read()
"""


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


@pytest.mark.programs
@pytest.mark.skipif(not can_unshare(), reason="namespaces cannot be made here")
def test_each_namespace_counts_for_itself_and_removes_nothing_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_JSON_PORT", str(free_port()))
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
    path = tmp_path / "inner.py"
    path.write_text(INNER)
    with metertap.instrument(service_name="shop", announce=False) as tap:
        for _ in range(3):
            metertap.record_tool_call("search", True, 1.0)
        assert wait_for(running.running)
        with started((*UNSHARE, sys.executable, str(path))) as inner:
            assert inner.stdout is not None
            calls, found = json.loads(inner.stdout.readline())
            assert (calls, os.getpid() in found) == (5, False)
            until = time.monotonic() + 1.5  # several looks of each
            while time.monotonic() < until:
                document = tap.snapshot()
                assert document["tool_metrics"]["search"]["total_calls"] == 3
            assert [process.pid for process in running.running()] == [os.getpid()]


def test_an_entry_of_another_namespace_is_kept_for_a_week(tmp_path: Path) -> None:
    path = running.register("shop", "http://127.0.0.1:9", None)
    entry = json.loads(path.read_text())
    assert entry["namespace"] == runtime_folder.namespace()
    path.write_text(json.dumps({**entry, "namespace": 7, "pid": 2**22 + 1}))
    assert running.running() == []
    assert path.exists()
    week_ago = time.time() - 7 * 86_400 - 1
    os.utime(path, (week_ago, week_ago))
    assert running.running() == []
    assert not path.exists()


def test_a_socket_is_kept_as_long_as_somebody_listens_at_it() -> None:
    folder = running.directory()
    path = folder / f"{2**22 + 1}-json{runtime_folder.SOCKET}"
    minutes_ago = time.time() - 120
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.utime(path, (minutes_ago, minutes_ago))
        running.running()
        assert path.exists()
    running.running()
    assert not path.exists()


def test_workers_of_another_namespace_are_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    own = members.key("shop", "json 127.0.0.1 9109")
    assert own == members.key("shop", "json 127.0.0.1 9109")
    monkeypatch.setattr(runtime_folder, "namespace", lambda: 7)
    assert own != members.key("shop", "json 127.0.0.1 9109")
