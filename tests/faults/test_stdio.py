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
DELAYED = 10
"""More than the second that an end is delayed by, because the machine may be busy."""
ROOMS = {f"{name}.py" for name in ("requests", "weights", "writer", "group", "leaving")}
"""Files whose functions are among those that are walked."""


@pytest.mark.mcp
@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_fault_anywhere_in_ours_leaves_an_mcp_server_on_stdio_as_it_is(
    tmp_path: Path, free_port: int
) -> None:
    env = {
        "PYTHONPATH": str(TESTS),
        "METERTAP_HISTORY": str(tmp_path / "history.db"),
        "METRICS_JSON_PORT": str(free_port),  # so that it is one of several workers
    }
    program = run(sys.executable, "-m", "servers.mcp_stdio_broken", env=env)
    assert program.status == 0, program.told
    usual, found = json.loads(program.stdout)
    assert usual["status"] == 0
    walked = {seam.partition(":")[0] for batch in found for seam in batch["seams"]}
    assert walked >= ROOMS
    for batch in found:
        assert batch["answers"] == usual["answers"], batch["seams"]
        assert batch["status"] == 0, batch["seams"]
        assert batch["seconds"] < usual["seconds"] + DELAYED, batch["seams"]
        assert batch["faults"], batch["seams"]
