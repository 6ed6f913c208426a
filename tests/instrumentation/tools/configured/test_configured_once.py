"""The program's own handlers, by lines of the configuration file: one call, one record."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from typing import Any

import pytest

import metertap
from support.configured_shop import (
    BY_ARGUMENT,
    configured,
    counted,
    figures,
    measured,
    outcomes,
    shop,
)

pytestmark = pytest.mark.interpreter


def test_a_dispatcher_in_a_dispatcher_is_a_call_of_its_own() -> None:
    configured({"ToolServer.through": '{ name = "arg:names.first" }'})
    with measured():
        names = {"first": "a", "rest": {"first": "b", "rest": {"first": "b", "rest": None}}}
        assert shop().server.through(names) == ["a", "b", "b"]
        assert counted() == {"a": 1, "b": 2}


def test_one_call_that_two_lines_see_is_counted_at_the_outermost() -> None:
    table = '{ name = "arg:tool_name" }'
    configured({"Derived.handle": table, "Base.handle": table, "Inheriting.handle": table})
    with measured():
        assert shop().Derived().handle("buy") == ("derived", ("base", "buy"))
        assert counted() == {"buy": 1}
        shop().Inheriting().handle("buy")
        shop().Base().handle("buy")
        assert counted() == {"buy": 3}


def _decorated(_shop: Any) -> None:
    metertap.tool(name="buy")(lambda: None)()


def _in_block(_shop: Any) -> None:
    with metertap.measure_tool("buy"):
        pass


def _recorded(_shop: Any) -> None:
    metertap.record_tool_call("buy", True, 1.0)


@pytest.mark.parametrize("by_hand", [_decorated, _in_block, _recorded])
@pytest.mark.parametrize("line", ["run_that", "run_that_later", "run_that_in_steps"])
def test_what_is_measured_by_hand_inside_is_the_same_call(line: str, by_hand: Any) -> None:
    configured({line: BY_ARGUMENT})
    with measured() as tap:
        result = getattr(shop(), line)("buy", lambda: by_hand(shop()))
        if inspect.iscoroutine(result):
            asyncio.run(result)
        elif result is not None:
            assert list(result) == [1]
        assert counted() == {"buy": 1}
        assert tap.diagnosis()["left_out_duplicates"] == {"buy": 1}


@pytest.mark.parametrize("line", ["run_that", "run_that_later", "run_that_in_steps"])
def test_a_line_inside_what_is_measured_by_hand_is_the_same_call(line: str) -> None:
    configured({line: BY_ARGUMENT})
    with measured():
        error = LookupError()

        def nothing() -> None:
            pass

        def fail() -> None:
            raise error

        for action in (nothing, fail):
            with contextlib.suppress(LookupError), metertap.measure_tool("buy"):
                result = getattr(shop(), line)("buy", action)
                if inspect.iscoroutine(result):
                    asyncio.run(result)
                elif result is not None:
                    list(result)
        assert outcomes("buy") == {"ok": 1, "exception": 1}
        assert figures()["buy"]["source"] == "manual"
    if sys.version_info >= (3, 11):
        frames = []
        traceback = error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
        assert not [file for file in frames if "metertap_instrumentation" in file]


def test_a_line_on_a_decorated_function_is_the_same_call() -> None:
    configured({"marked": "{}"})
    with measured():
        assert shop().marked() == "marked"
        assert sum(counted().values()) == 1


def test_a_line_on_the_tool_of_an_mcp_server_is_the_same_call() -> None:
    pytest.importorskip("mcp")
    from servers.mcp_stacks import stacks

    configured({"run": '{ name = "function" }'})
    stack = next(stack for stack in stacks() if stack.empty is not None)

    async def call() -> Any:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.tool()(shop().run)
        async with stack.connect(server) as session:
            return await session.call_tool("run", {"tool_name": "x"})

    with measured():
        asyncio.run(call())
        assert (counted(), figures()["run"]["source"]) == ({"run": 1}, "mcp:shop")
        assert "configured" not in {item["source"] for item in figures().values()}


def test_a_line_inside_or_around_a_langchain_tool_is_the_same_call() -> None:
    tools = pytest.importorskip("langchain_core.tools")
    configured({"run": '{ name = "const:find" }', "invoke": '{ name = "arg:tool_name" }'})
    with measured():
        find = tools.StructuredTool.from_function(shop().run, name="find", description="Finds.")
        assert find.invoke({"tool_name": "x"}) == "x"
        assert {name for name in figures() if name != "marked"} == {"find"}
        assert (counted(), figures()["find"]["source"]) == ({"find": 1}, "langchain")
        assert shop().invoke("find", find) == "find"
        assert counted() == {"find": 1, "find@configured": 1}
