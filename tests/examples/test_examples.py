"""Every example runs as it is, and prints what its reader is told to expect."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], capture_output=True, text=True, timeout=60, check=False
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
    assert "answers: 50 % hits, by tool {'ask': {'hits': 2, 'misses': 2}}" in lines


def test_beside_your_provider() -> None:
    assert "gen_ai.execute_tool.duration {'gen_ai.tool.name': 'search'" in _run(
        "beside_your_provider.py"
    )


def test_the_list_of_examples_is_complete() -> None:
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"({path.name})" in listed
