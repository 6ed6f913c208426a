"""`metertap demo`: a real server, a real client, and figures that agree."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from metertap.cli.demo.agreement import Totals, of_document, of_otlp
from metertap.history.file_answers import FileAnswers
from support.waiting import wait_for

pytestmark = [pytest.mark.mcp, pytest.mark.programs]

pytest.importorskip("mcp", reason="the demo's server needs mcp")


def _demo(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "METRICS_JSON_PORT": "0", "PROMETHEUS_PORT": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", "metertap", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_json_prometheus_and_otlp_agree_with_what_the_client_counted(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    costs = ["--costs"] if find_spec("genai_prices") else []
    with _demo("--duration", "4", "--history", str(file), "--release", "2.0", *costs) as demo:
        out, err = demo.communicate(timeout=180)
    assert demo.returncode == 0, err
    assert "All figures agree." in out
    rows = [line for line in out.splitlines() if line.lstrip().startswith(("client", "OTLP"))]
    assert len(rows) == 2, out  # OTLP is among what was compared
    assert int(rows[0].split()[1]) > 0
    with closing(FileAnswers(file)) as answers:
        assert [item.version for item in answers.versions()] == ["2.0"]
        kept = list(answers.slices(since=0, until=1e11, step=1e12, kinds=("tool",)))
    assert sum(each.calls for each in kept) == int(rows[0].split()[1])
    if costs:  # every amount of the last table is a recommendation's
        assert "saved by caches" in out
        changes = out.partition("what could be changed")[2].partition("USD by the table")[0]
        assert len(re.findall(r"^ +(?:\$\S+|–)  ", changes, re.MULTILINE)) >= 3, out


def test_progress_is_visible_while_it_runs_and_ctrl_c_ends_it_with_a_summary() -> None:
    with _demo() as demo:
        assert demo.stdout is not None
        seen: list[str] = []
        wait_for(lambda: seen.append(demo.stdout.readline()) or " calls, " in seen[-1], 60)
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=180)
    assert demo.returncode == 0, err
    assert "All figures agree." in out


@pytest.mark.parametrize("duration", ["0", "-1", "nan"])
def test_a_duration_that_is_none_is_a_wrong_command_line(duration: str) -> None:
    with _demo(f"--duration={duration}") as demo:
        _, err = demo.communicate(timeout=180)
    assert demo.returncode == 2
    assert "--duration" in err


@pytest.mark.parametrize("place", [".", "nowhere/history.db"])
def test_a_history_that_cannot_be_kept_is_one_line(place: str, tmp_path: Path) -> None:
    with _demo("--duration=1", "--history", str(tmp_path / place)) as demo:
        out, err = demo.communicate(timeout=180)
    assert (demo.returncode, out) == (1, "")
    assert re.fullmatch("metertap demo: no history can be kept there: .+\n", err), err


@pytest.mark.parametrize("port", ["99999999", "-1", "taken"])
def test_a_port_that_cannot_be_used_is_one_line(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1] if port == "taken" else port
        with _demo("--duration=1", f"--port={number}") as demo:
            _, err = demo.communicate(timeout=180)
    assert demo.returncode == 1
    assert f"port {number} cannot be used" in err
    assert "Traceback" not in err


def test_the_comparison_can_fail() -> None:
    document = {
        "tool_metrics": {
            "search": {
                "successful_calls": 3,
                "failed_calls": 1,
                "cancelled_calls": None,
                "caller_errors": 0,
            }
        }
    }
    assert of_document(document) == Totals(3, 1, 0, 0)
    assert of_otlp({}) != of_document(document)


def test_the_server_does_not_outlive_a_demo_that_is_killed() -> None:
    with _demo() as demo:
        assert demo.stdout is not None
        line = wait_for(lambda: demo.stdout.readline(), 60)
        while not line.startswith("MCP server"):
            line = demo.stdout.readline()
        demo.kill()
    address = ("127.0.0.1", int(line.split(":")[2].partition("/")[0]))

    def is_gone() -> bool:
        with socket.socket() as client:
            return client.connect_ex(address) != 0

    wait_for(is_gone, 60)
