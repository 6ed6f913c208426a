"""Patching the SDK and taking it back: whenever, once, and without a trace."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wrapt

import metertap
from metertap import distributions
from metertap_instrumentation.tools import mcp
from servers.mcp_stacks import MCP, Stack, counted, stacks
from servers.mcp_tools import Gate
from support.patched import bound, in_namespace, set_in_namespace

pytestmark = pytest.mark.mcp

TESTS = Path(__file__).parents[2]
STACKS = stacks()  # imports everything that is patched


def diagnosed(tap: metertap.Tap) -> dict[str, Any]:
    return next(item for item in tap.diagnosis()["instrumentations"] if item["name"] == "mcp")


def call_fine(stack: Stack) -> None:
    async def call() -> None:
        async with stack.connect(stack.build(Gate())) as session:
            result = await session.call_tool("fine", {})
            assert "unknown tool" in result.content[0].text

    asyncio.run(call())


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_call_may_come_before_or_after_the_import(order: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "servers.mcp_session", order],
        cwd=TESTS,
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    measured = json.loads(finished.stdout.splitlines()[-1])
    assert measured["calls"] == measured["stacks"] > 0


OUTSIDE = """
import metertap
tap = metertap.instrument(json_endpoint=False)
import fastmcp
print(tap.diagnosis()["faults"])
"""


@pytest.mark.parametrize("version", ["2.7.0", "99.0"])
def test_a_fastmcp_outside_the_verified_range_is_left_alone(version: str, tmp_path: Path) -> None:
    pytest.importorskip("fastmcp")
    (tmp_path / f"fastmcp-{version}.dist-info").mkdir()  # found before the installed one
    finished = subprocess.run(
        [sys.executable, "-c", OUTSIDE],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert finished.stdout == "{}\n", finished.stderr
    of_tools = [line for line in finished.stderr.splitlines() if "of its tools" in line]
    assert of_tools == [
        f"metertap: fastmcp {version} is outside the verified range 2.14 to below 5; "
        "of its tools only what MCP's SDK sees is measured"
    ]


def test_every_patch_binds_and_goes_without_a_trace() -> None:
    absent = set()
    for module in ("mcp.server.websocket", "mcp.client.websocket") if MCP < (2,) else ():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:  # with older websockets than this part of the SDK needs
            absent.add(module)
    with metertap.instrument(json_endpoint=False):
        paths = bound()
        statuses = {item.module: item.status for item in mcp.INSTRUMENTATION.patch_sets}
    before = {path: in_namespace(path) for path in paths}
    waiting = {module for module, status in statuses.items() if status == "waiting"}
    assert waiting == absent
    assert set(statuses.values()) - {"waiting"} == {"installed"}, statuses
    for _ in range(2):
        with metertap.instrument(json_endpoint=False):
            assert bound() == paths
            assert all(in_namespace(path) is not before[path] for path in paths)
        assert bound() == []
        assert all(in_namespace(path) is before[path] for path in paths)


@pytest.mark.skipif(MCP >= (2,), reason="on the SDK 2.x nothing that is patched is inherited")
def test_an_inherited_method_is_inherited_again() -> None:
    from mcp.client.session import ClientSession
    from mcp.shared.session import BaseSession

    with metertap.instrument(json_endpoint=False):
        assert "send_request" in vars(ClientSession)
    assert "send_request" not in vars(ClientSession)
    assert ClientSession.send_request is BaseSession.send_request


def test_twice_patches_once() -> None:
    with metertap.instrument(json_endpoint=False):
        metertap.instrument()
        for path in bound():
            assert not isinstance(in_namespace(path).__wrapped__, wrapt.FunctionWrapper), path


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_who_wraps_after_us_stays_and_we_go(stack: Stack) -> None:
    seen: list[str] = []

    def theirs(path: str) -> Any:
        def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            seen.append(path)
            return wrapped(*args, **kwargs)

        return wrapper

    with metertap.instrument(json_endpoint=False):
        paths = bound()
    before = {path: in_namespace(path) for path in paths}
    with metertap.instrument(json_endpoint=False) as tap:
        for path in paths:
            set_in_namespace(path, wrapt.FunctionWrapper(in_namespace(path), theirs(path)))
        wrapped = {path: in_namespace(path) for path in paths}
        call_fine(stack)
    try:
        with_both = set(seen)
        seen.clear()
        call_fine(stack)
        assert set(seen) == with_both
        assert all(in_namespace(path) is wrapped[path] for path in paths)
        assert counted(tap.snapshot()) == {"fine": {"ok": 1}}
    finally:
        for path in paths:
            set_in_namespace(path, before[path])


@pytest.mark.skipif(MCP >= (2,), reason="on the SDK 2.x nothing that is patched is inherited")
def test_who_wraps_a_base_class_after_us_is_called() -> None:
    from mcp.shared.session import BaseSession

    seen: list[str] = []
    original = BaseSession.send_request

    async def theirs(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(request.root.method)
        return await original(self, request, *args, **kwargs)

    with metertap.instrument(json_endpoint=False) as tap:
        BaseSession.send_request = theirs  # type: ignore[method-assign]
        try:
            call_fine(STACKS[0])
        finally:
            BaseSession.send_request = original  # type: ignore[method-assign]
        assert "tools/call" in seen
        assert counted(tap.snapshot()) == {"fine": {"ok": 1}}


@pytest.mark.parametrize("version", ["0.9.1", "1.9.4", "3.0.0", "3.0.0rc1", "4.1"])
def test_an_unknown_version_is_left_alone_with_one_warning(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def version_of(name: str) -> str | None:
        return version if name == "mcp" else None

    monkeypatch.setattr(mcp.INSTRUMENTATION, "patch_sets", ())
    monkeypatch.setattr(distributions, "version", version_of)
    with metertap.instrument(json_endpoint=False) as tap:
        call_fine(STACKS[0])
        diagnosis = diagnosed(tap)
    warnings = [record for record in caplog.records if record.name == "metertap"]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert f"mcp {version}" in warnings[0].getMessage()
    assert diagnosis["state"] == "unsupported version"
    assert counted(tap.snapshot()) == {}


def test_without_the_sdk_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcp.INSTRUMENTATION, "patch_sets", ())
    monkeypatch.setattr(distributions, "version", lambda _name: None)
    with metertap.instrument(json_endpoint=False) as tap:
        assert diagnosed(tap)["state"] == "not installed"
    assert not caplog.records
