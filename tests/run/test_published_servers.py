"""MCP servers that others wrote, as their packages install them, under `metertap run`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from support import wire
from support.programs import METERTAP, RUN, run

pytestmark = [pytest.mark.mcp, pytest.mark.programs]

Call = tuple[str, dict[str, Any]]

TIME: list[Call] = [
    ("get_current_time", {"timezone": "Europe/Warsaw"}),
    ("convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}),
    ("get_current_time", {"timezone": "nowhere at all"}),
    ("get_current_time", {}),
]


def _installed(name: str) -> str:
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    return path


def _session(command: Sequence[str], calls: Sequence[Call]) -> tuple[list[Any], dict[str, Any]]:
    """What a client got for each call, and `metertap snapshot --json` before it left."""

    async def talk() -> tuple[list[Any], dict[str, Any]]:
        got: list[Any] = []
        async with stdio_client(server, log) as streams, ClientSession(*streams) as session:
            got.append((await session.initialize()).model_dump())
            got.append((await session.list_tools()).model_dump())
            for name, arguments in calls:
                try:
                    got.append((await session.call_tool(name, arguments)).model_dump())
                except Exception as error:
                    got.append((type(error), str(error)))
            shown = await asyncio.to_thread(run, METERTAP, "snapshot", "--json")
        documents = json.loads(shown.stdout) if shown.status == 0 else []
        return got, (documents[0] if documents else {})

    server = StdioServerParameters(command=command[0], args=list(command[1:]), env=dict(os.environ))
    with open(os.devnull, "w") as log:
        return asyncio.run(talk())


def _weighs_as_on_the_wire(document: dict[str, Any], kept: Path, calls: Sequence[Call]) -> None:
    """Compare every byte of definitions and results with what the server wrote."""
    weights = document["weight_metrics"]["tools"]
    definitions = {name: tool["definition"]["bytes"] for name, tool in weights.items()}
    assert definitions == wire.definitions(kept)
    sizes: dict[str, list[int]] = {name: [] for name in weights}
    for (name, _), size in zip(calls, wire.results(kept), strict=True):
        sizes[name].append(size)
    for name, tool in weights.items():
        found = tool["results"] or {"total_bytes": 0, "max_bytes": None, "weighed": 0}
        assert found["total_bytes"] == sum(sizes[name])
        assert found["max_bytes"] == max(sizes[name], default=None)
        assert found["weighed"] == len(sizes[name])


def test_mcp_server_time_is_measured_and_answers_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    server = [_installed("mcp-server-time"), "--local-timezone", "UTC"]
    without, unmeasured = _session(server, TIME)
    measured, document = _session([*wire.recorder(kept), *RUN, *server], TIME)
    told_the_time = slice(2, 4)  # the third and fourth answers
    del without[told_the_time], measured[told_the_time]
    assert measured == without
    assert unmeasured == {}
    assert document["service"]["name"] == "mcp-server-time"
    tools = document["tool_metrics"]
    assert set(tools) == {"get_current_time", "convert_time"}
    assert tools["convert_time"]["successful_calls"] == 1
    current = tools["get_current_time"]
    assert (current["total_calls"], current["successful_calls"]) == (3, 1)
    _weighs_as_on_the_wire(document, kept, TIME)


def test_mcp_server_git_is_measured_and_answers_the_same(tmp_path: Path) -> None:
    repository = str(tmp_path / "repository")
    subprocess.run(["git", "init", "-q", repository], check=True)
    server = [_installed("mcp-server-git"), "--repository", repository]
    calls: list[Call] = [
        ("git_status", {"repo_path": repository}),
        ("git_show", {"repo_path": repository, "revision": "no-such-revision"}),
    ]
    without, _ = _session(server, calls)
    kept = tmp_path / "kept"
    measured, document = _session([*wire.recorder(kept), *RUN, *server], calls)
    assert measured == without
    _weighs_as_on_the_wire(document, kept, calls)
    tools = document["tool_metrics"]
    assert tools["git_status"]["successful_calls"] == 1
    assert tools["git_show"]["failed_calls"] == 1
    assert tools["git_log"]["total_calls"] == 0  # it is registered, and so it is there


def test_mcp_server_fetch_is_measured_and_answers_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    server = [_installed("mcp-server-fetch")]
    calls: list[Call] = [("fetch", {"url": "not a url"}), ("fetch", {"max_length": "many"})]
    without, _ = _session(server, calls)
    measured, document = _session([*wire.recorder(kept), *RUN, *server], calls)
    assert measured == without
    _weighs_as_on_the_wire(document, kept, calls)
    assert document["tool_metrics"]["fetch"]["total_calls"] == 2
