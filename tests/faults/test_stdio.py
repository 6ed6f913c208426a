"""Faults of our own in an MCP server on real pipes: its answers and its end stay what they are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from support.programs import run

pytestmark = pytest.mark.programs

TESTS = Path(__file__).parents[1]


@pytest.mark.mcp
@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_fault_anywhere_in_ours_leaves_an_mcp_server_on_stdio_as_it_is() -> None:
    program = run(sys.executable, "-m", "servers.mcp_stdio_broken", env={"PYTHONPATH": str(TESTS)})
    assert program.status == 0, program.told
    usual, found = json.loads(program.stdout)
    assert usual["status"] == 0
    assert sum(len(batch["seams"]) for batch in found) > 100
    for batch in found:
        assert batch["answers"] == usual["answers"], batch["seams"]
        assert batch["status"] == 0, batch["seams"]
        assert batch["seconds"] < usual["seconds"] + 2, batch["seams"]  # twice that, as elsewhere
        assert batch["faults"], batch["seams"]
