"""A measured server and its clients see and do what they would without being measured."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap
from metertap.patching.installed import make_stand_in
from metertap_instrumentation.tools import mcp
from servers.mcp_stacks import MCP, Stack, stacks
from servers.mcp_tools import Gate
from support.metric_data import points
from support.patched import bound, in_namespace

pytestmark = pytest.mark.mcp

STACKS = stacks()


def observed(stack: Stack) -> list[tuple[str, object]]:
    """What a client gets from a listing and from each ending: a result, or an exception."""

    async def one(name: str, arguments: dict[str, Any], *, cancel: bool) -> object:
        gate = Gate()
        async with stack.connect(stack.build(gate)) as session:
            call = asyncio.ensure_future(session.call_tool(name, arguments))
            if cancel:
                await gate.entered.wait()
                await stack.cancel(session, call)
            await asyncio.wait([call])
        if call.cancelled():
            return "cancelled"
        error = call.exception()
        return (type(error), error.args) if error is not None else call.result().model_dump()

    async def everything() -> list[tuple[str, object]]:
        found: list[tuple[str, object]] = []
        for ending in stack.endings:
            seen = await one(ending.tool, ending.arguments, cancel=ending.cancel)
            found.append((ending.tool, _without_chance(seen)))
        async with stack.connect(stack.build(Gate())) as session:
            found.append(("list", (await session.list_tools()).model_dump()))
        return found

    return asyncio.run(everything())


def _without_chance(seen: object) -> object:
    # The SDK seals a request's state with a key of the process and a nonce.
    if isinstance(seen, dict) and seen.get("request_state"):
        return {**seen, "request_state": "sealed"}
    return seen


@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_a_client_sees_the_same(stack: Stack) -> None:
    without = observed(stack)
    with metertap.instrument(json_endpoint=False):
        assert observed(stack) == without


FAULTY = [
    "metertap_instrumentation.tools.mcp.errors.meaning",
    "metertap_instrumentation.tools.mcp.served.Served.listed",
    "metertap_instrumentation.tools.mcp.requests.Request.begin",
    "metertap_instrumentation.tools.mcp.requests.Request.end",
    "metertap_instrumentation.tools.mcp.requests.Request.stops"
    " metertap_instrumentation.tools.mcp.requests.Request.returns",
    "metertap_instrumentation.tools.mcp.operations._of_peer",
    "metertap_instrumentation.tools.mcp.handlers.request_in_progress",
    "metertap_instrumentation.tools.mcp.client._kind",
    "metertap.recording.Recorder.session_opened",
    "metertap.recording.Recorder.session_closed",
    "metertap_instrumentation.tools.mcp.requests.keep",
    "metertap_instrumentation.tools.mcp.v2.request_of"
    " metertap_instrumentation.tools.mcp.requests.Request.end",
    "metertap.recording.Recorder.operation",
]


@pytest.mark.faults
@pytest.mark.parametrize("stack", [stack for stack in STACKS if "2026" not in stack.name], ids=str)
@pytest.mark.parametrize("place", FAULTY)
def test_a_fault_of_ours_reaches_nobody_and_is_counted(
    stack: Stack, place: str, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        reached.append(place)
        raise ZeroDivisionError("a fault of metertap's own")

    without = _without_faults(stack)
    provider = MeterProvider([reader])
    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        with monkeypatch.context() as patched:
            for part in place.split():
                patched.setattr(part, broken)
            assert observed(stack) == without
        tools = tap.snapshot()["tool_metrics"].values()
        assert all(tool["active_calls"] == 0 for tool in tools)
        counted = sum(point.value for point in points(reader, "metertap.errors"))
    assert (counted > 0) == bool(reached)
    # A low-level server of 2.x notes the end of a handler without some of them.
    assert reached or stack.name.startswith("low-level")


_observed: dict[str, list[tuple[str, object]]] = {}


def _without_faults(stack: Stack) -> list[tuple[str, object]]:
    if stack.name not in _observed:
        _observed[stack.name] = observed(stack)
    return _observed[stack.name]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there a caught frame stays")
def test_tracebacks_show_no_frame_of_ours(tap: Tap, caplog: pytest.LogCaptureFixture) -> None:
    assert tap.is_active
    caplog.set_level(logging.ERROR)
    for stack in STACKS:
        observed(stack)
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
    shown = ["".join(traceback.format_exception(error)) for error in raised if error is not None]
    if not shown:
        pytest.skip("this old SDK shows nobody what a tool raised")
    assert any("call_tool" in text for text in shown)
    assert not any("metertap_instrumentation" in text for text in shown)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there a caught frame stays")
@pytest.mark.skipif(MCP >= (2,), reason="the SDK 2.x logs what a handler raised: see above")
def test_what_a_server_lets_through_shows_no_frame_of_ours(tap: Tap) -> None:
    from mcp.server.lowlevel import Server
    from mcp.shared.memory import create_connected_server_and_client_session

    server: Server[Any, Any] = Server("shop")

    @server.list_prompts()
    async def list_prompts() -> list[Any]:
        raise ValueError("let through")

    async def session() -> None:
        async with create_connected_server_and_client_session(
            server, raise_exceptions=True
        ) as session:
            await session.list_prompts()

    assert tap.is_active
    with pytest.raises(Exception, match="TaskGroup") as raised:
        asyncio.run(session())
    shown = "".join(traceback.format_exception(raised.value))
    assert "let through" in shown
    assert "metertap_instrumentation" not in shown


class Odd(BaseException):
    """As an interrupt or an exit is."""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there a caught frame stays")
@pytest.mark.faults  # what is passed is nothing that a patch could read
def test_no_patch_adds_a_frame_to_what_passes_through_it() -> None:
    def raising(*_args: Any, **_kwargs: Any) -> None:
        raise Odd

    async def raising_later(*_args: Any, **_kwargs: Any) -> None:
        raise Odd

    async def awaited(function: Any) -> None:
        await function(object(), object())

    with metertap.instrument(json_endpoint=False):
        targets = [
            (item.target, inspect.iscoroutinefunction(item.original))
            for patch_set in mcp.INSTRUMENTATION.patch_sets
            for item in patch_set._installed
            if inspect.isfunction(item.original)
        ]
        assert len(targets) >= 8
        for target, is_async in targets:
            body = raising_later if is_async else raising
            patched, _ = make_stand_in(SimpleNamespace(), "body", body, target)
            with pytest.raises(Odd) as raised:
                asyncio.run(awaited(patched)) if is_async else patched(object(), object())
            shown = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
            ours = [name for name in shown if "metertap_instrumentation" in name]
            assert ours == [], target.attribute


def test_patched_functions_look_as_they_did() -> None:
    def look(function: Any) -> tuple[object, ...]:
        return (
            inspect.signature(function),
            inspect.iscoroutinefunction(function),
            inspect.isfunction(function),
            function.__name__,
            function.__doc__,
        )

    with metertap.instrument(json_endpoint=False):
        assert mcp.INSTRUMENTATION.problem is None
        for path in bound():
            wrapper = in_namespace(path)
            assert look(wrapper) == look(wrapper.__wrapped__), path
