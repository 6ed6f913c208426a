"""The count of instructions by which known misses are explained."""

from __future__ import annotations

import asyncio
from importlib import metadata

from benchmarks.process import measured

from benchmarks import instructions, mcp

IS_MCP_1 = metadata.version("mcp").startswith("1.")


def test_a_decorated_function_takes_one_function_of_ours() -> None:
    with measured():
        counts = asyncio.run(instructions.of_tool())
    assert list(counts) == ["call"]
    assert 50 < counts.total() < 120


def test_a_request_takes_no_more_instructions_than_are_told() -> None:
    with measured():
        counts = asyncio.run(instructions.of_request(mcp._low_level))
    assert {"enter", "leave", "weigh", "of_content"} <= set(counts)
    assert 300 < counts.total() < (1_450 if IS_MCP_1 else 1_000)
