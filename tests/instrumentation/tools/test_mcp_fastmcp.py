"""What only the fastmcp package has: mounted servers, middleware, pages of its own making."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from metertap import Tap
from servers.mcp_stacks import counted, error_types, stacks
from support.waiting import wait_for

pytestmark = pytest.mark.mcp

fastmcp = pytest.importorskip("fastmcp", reason="the fastmcp package is not installed")

VERSION = tuple(int(part) for part in fastmcp.__version__.split(".")[:2])


def run(server: Any, *calls: tuple[str, dict[str, Any]]) -> None:
    async def session() -> None:
        async with fastmcp.Client(server) as client:
            for name, arguments in calls:
                with contextlib.suppress(Exception):
                    await client.call_tool(name, arguments)

    asyncio.run(session())


def shop() -> Any:
    server = fastmcp.FastMCP("shop")

    @server.tool
    def needs_a_number(number: int) -> str:  # not async: arguments and tool meet in a thread
        return str(number)

    @server.tool
    def raises() -> str:
        raise ValueError("unknown tool")

    return server


def mounted_twice() -> Any:
    """`shop` below a server below a server."""
    floor, building = fastmcp.FastMCP("floor"), fastmcp.FastMCP("building")
    floor.mount(shop(), "shop")
    building.mount(floor, "floor")
    return building


@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "error_type"),
    [
        ("needs_a_number", {"number": 1}, "ok", None),
        ("needs_a_number", {"number": "many"}, "caller_error", "ValidationError"),
        ("raises", {}, "exception", "ValueError"),
    ],
)
def test_a_call_of_a_mounted_tool_is_one_call_of_its_full_name(
    name: str, arguments: dict[str, Any], outcome: str, error_type: str | None, tap: Tap
) -> None:
    label = f"floor_shop_{name}"
    run(mounted_twice(), (label, arguments))
    document = tap.snapshot()
    assert counted(document) == {label: {outcome: 1}}
    assert error_types(document) == ({label: {error_type: 1}} if error_type else {})
    assert document["tool_metrics"][label]["source"] == "mcp:building"


def test_a_made_up_name_below_a_mount_is_the_callers_error(tap: Tap) -> None:
    run(mounted_twice(), ("floor_shop_made_up", {}))
    assert counted(tap.snapshot()) == {"_OTHER": {"caller_error": 1}}


def test_middleware_between_changes_nothing(tap: Tap) -> None:
    from fastmcp.server.middleware import Middleware

    class Passing(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            return await call_next(context)

    server = shop()
    server.add_middleware(Passing())
    run(server, ("needs_a_number", {"number": "many"}), ("raises", {}), ("made_up", {}))
    assert counted(tap.snapshot()) == {
        "needs_a_number": {"caller_error": 1},
        "raises": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }


@pytest.mark.skipif(VERSION < (3,), reason="fastmcp checks authorization since 3")
def test_a_refusal_for_want_of_authorization_is_the_callers_error(tap: Tap) -> None:
    from fastmcp.server.auth import require_scopes
    from fastmcp.server.middleware import AuthMiddleware

    server = shop()
    server.add_middleware(AuthMiddleware(auth=require_scopes("admin")))
    run(server, ("raises", {}))
    [(_, outcomes)] = counted(tap.snapshot()).items()
    assert outcomes == {"caller_error": 1}
    [errors] = error_types(tap.snapshot()).values()
    assert set(errors) <= {"AuthorizationError", "InsufficientScopeError"}


def test_what_middleware_answers_is_the_outcome(tap: Tap) -> None:
    from fastmcp.exceptions import ToolError
    from fastmcp.server.middleware import Middleware

    class Limiting(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            try:
                await call_next(context)
            except Exception as error:
                raise ToolError("too many requests") from error
            raise PermissionError("unknown tool")

    server = shop()
    server.add_middleware(Limiting())
    run(server, ("needs_a_number", {"number": 1}), ("raises", {}))
    assert error_types(tap.snapshot()) == {
        "needs_a_number": {"PermissionError": 1},
        "raises": {"ToolError": 1},
    }


@pytest.mark.skipif(VERSION < (3,), reason="fastmcp has pages since 3")
def test_a_failing_tool_on_a_page_that_nobody_read_exists(tap: Tap) -> None:
    server = fastmcp.FastMCP("shop", list_page_size=1)
    for name in ("first", "second", "third"):

        async def raises() -> str:
            raise ValueError("unknown tool")

        server.tool(raises, name=name)
    run(server, ("third", {}), ("made_up", {}))
    assert counted(tap.snapshot()) == {"third": {"exception": 1}, "_OTHER": {"caller_error": 1}}


def test_something_else_not_found_is_an_exception_of_the_tool(tap: Tap) -> None:
    from fastmcp import Context

    server = fastmcp.FastMCP("shop")

    async def reads(context: Any) -> str:
        return str(await context.read_resource("data://made_up"))

    reads.__annotations__["context"] = Context
    server.tool(reads)
    run(server, ("reads", {}))
    assert counted(tap.snapshot()) == {"reads": {"exception": 1}}
    assert error_types(tap.snapshot()) == {"reads": {"NotFoundError": 1}}


@pytest.mark.skipif(VERSION < (3,), reason="fastmcp runs plain functions in threads since 3")
def test_a_cancelled_tool_that_runs_to_its_end_in_a_thread_is_cancelled(tap: Tap) -> None:
    entered, released = threading.Event(), threading.Event()
    server = fastmcp.FastMCP("shop")
    stack = next(stack for stack in stacks() if stack.name.startswith("fastmcp"))

    @server.tool
    def waits() -> str:
        entered.set()
        released.wait(60)
        return "never heard"

    async def session() -> None:
        async with stack.connect(server) as session:
            call = asyncio.ensure_future(session.call_tool("waits", {}))
            assert await asyncio.to_thread(entered.wait, 60)
            await stack.cancel(session, call)
            await asyncio.wait([call])
            call.cancelled() or call.exception()
            await session.send_ping()  # behind the cancellation
            released.set()
            await asyncio.to_thread(wait_for, lambda: counted(tap.snapshot()))

    with contextlib.suppress(Exception):  # the SDK 1.x answers such a call twice, and gives up
        asyncio.run(session())
    assert counted(tap.snapshot()) == {"waits": {"cancelled": 1}}
