"""The count of instructions by which known misses are explained."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IS_MCP_1 = metadata.version("mcp").startswith("1.")

Counts = dict[str, dict[str, int]]
"""The instructions of each function of ours, and of all of them as `total`, by what is called."""


@pytest.fixture(scope="module")
def counts() -> Counts:
    """Run the benchmark as a reader does: another test's tracer provider makes calls longer."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.instructions"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: Counts = {}
    for line in done.stdout.splitlines():
        if title := re.fullmatch(r" *([\d,]+)  (.*\S)", line):
            number, name = int(title[1].replace(",", "")), title[2]
            if " " in name or name.startswith("@"):
                found[name] = functions = {"total": number}
            else:
                functions[name] = number
    return found


def test_a_decorated_function_takes_one_function_of_ours(counts: Counts) -> None:
    ours = counts["@metertap.tool"]
    assert list(ours) == ["total", "call"]
    assert 50 < ours["total"] < 120


def test_a_generators_call_takes_no_more_instructions_than_are_told(counts: Counts) -> None:
    for kind, most in (("generator", 300), ("async generator", 330)):
        ours = counts[f"{kind} of one item"]
        assert {"__call__", "start", "leave", "first_item"} <= set(ours)
        assert 150 < ours["total"] < most


def test_a_tool_of_langchain_takes_no_more_instructions_than_are_told(counts: Counts) -> None:
    pytest.importorskip("langchain_core")
    ours = counts["LangChain tool.invoke"]
    assert {"begin", "ended", "weigh_plain"} <= set(ours)
    assert 250 < ours["total"] < 500


def test_a_models_call_takes_no_more_instructions_than_are_told(counts: Counts) -> None:
    for package in ("openai", "anthropic", "google.genai"):
        pytest.importorskip(package)
    whole, streamed = counts["a call of a model"], counts["a call of a model that streams"]
    assert {"begin", "copied", "may_wait"} <= set(whole) & set(streamed)
    assert 500 < whole["total"] < 1_050
    assert whole["total"] < streamed["total"] < whole["total"] + 520


def test_a_request_takes_no_more_instructions_than_are_told(counts: Counts) -> None:
    ours = counts["MCP tools/call, low-level"]
    assert {"keep", "size_of_content"} <= set(ours)
    assert 300 < ours["total"] < (1_010 if IS_MCP_1 else 595)
    assert counts["MCP tools/call, MCPServer"]["total"] < (1_325 if IS_MCP_1 else 785)
