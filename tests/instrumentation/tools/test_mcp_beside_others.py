"""Beside `opentelemetry-instrumentation-mcp`, another project's, which makes spans."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from servers.mcp_stacks import MCP

pytestmark = pytest.mark.mcp

if MCP >= (2,):
    pytest.skip("opentelemetry-instrumentation-mcp knows the SDK 1.x", allow_module_level=True)
try:
    found = util.find_spec("opentelemetry.instrumentation.mcp")
except ModuleNotFoundError:
    found = None
if found is None:
    pytest.skip("opentelemetry-instrumentation-mcp is not installed", allow_module_level=True)

TESTS = Path(__file__).parents[2]
ORDERS = ["ours,theirs", "theirs,ours"]


@pytest.mark.parametrize("installing", ORDERS)
@pytest.mark.parametrize("undoing", ORDERS)
def test_both_work_and_either_may_go_first(installing: str, undoing: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "servers.mcp_beside", installing, undoing],
        cwd=TESTS,
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    steps = json.loads(finished.stdout.splitlines()[-1])
    assert len({step["text"] for step in steps}) == 1
    # Theirs goes on after its own undoing: it leaves that patch behind.
    assert [step["theirs"] for step in steps] == [1, 2, 3]
    assert [step["ours"] for step in steps] == (
        [1, 1, 1] if undoing == "ours,theirs" else [1, 2, 2]
    )
