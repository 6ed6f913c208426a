"""Tools in LangGraph's graphs and agents: what a model asks for is one call each."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import metertap
from metertap import Tap

pytest.importorskip("langgraph.prebuilt.tool_node")
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.errors import NodeInterrupt
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

pytestmark = pytest.mark.library("langgraph")

try:  # the last is where it went
    from langgraph.prebuilt import create_react_agent
except ImportError:
    from langchain.agents import create_agent as create_react_agent

MADE_UP = "a name that a model made up"


@tool
def double(number: int) -> int:
    """Double it."""
    return number * 2


@tool
async def adouble(number: int) -> int:
    """Double it, later."""
    await asyncio.sleep(0)
    return number * 2


@tool
def fails(number: int) -> int:
    """Fail."""
    raise LookupError(number)


@tool
def asks(number: int) -> int:
    """Ask a human."""
    raise NodeInterrupt("May I?")


TOOLS = [double, adouble, fails, asks]


def asking(*names_and_arguments: tuple[str, Any]) -> AIMessage:
    """A model's message with tool calls."""
    return AIMessage(
        "",
        tool_calls=[
            {"name": name, "args": {"number": number}, "id": f"call-{position}"}
            for position, (name, number) in enumerate(names_and_arguments)
        ],
    )


def graph(node: Any, **options: Any) -> Any:
    """A graph of one node that runs tools."""
    builder = StateGraph(MessagesState)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    return builder.compile(**options)


def counted(tap: Tap) -> dict[str, dict[str, int]]:
    """How calls ended, by tool: only the outcomes that there were."""
    found = {}
    for name, figures in tap.snapshot()["tool_metrics"].items():
        assert figures["source"] == "langchain"
        assert figures["active_calls"] == 0
        found[name] = {ended: count for ended, count in figures["outcomes"].items() if count}
    return found


class Model(GenericFakeChatModel):
    """A model that says what it was told to."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_node_that_handles_errors(is_async: bool, tap: Tap) -> None:
    node = graph(ToolNode(TOOLS, handle_tool_errors=True))
    asked = [("double", 1), ("double", 2), ("double", "many"), ("fails", 1), (MADE_UP, 1)]
    state = {"messages": [asking(*asked)]}
    answer = asyncio.run(node.ainvoke(state)) if is_async else node.invoke(state)
    statuses = [message.status for message in answer["messages"][1:]]
    assert statuses == ["success", "success", "error", "error", "error"]
    assert counted(tap) == {
        "double": {"ok": 2, "caller_error": 1},
        "fails": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }
    assert tap.snapshot()["tool_metrics"]["_OTHER"]["error_types"] == {"caller_error": 1}
    assert MADE_UP not in json.dumps([tap.snapshot(), tap.diagnosis()], default=str)


def test_an_unknown_tool_is_counted_where_a_decorator_takes_the_patched_function(
    tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = vars(ToolNode)["_validate_tool_call"]

    def decorated(self: ToolNode, call: Any) -> Any:
        return patched(self, call)

    monkeypatch.setattr(ToolNode, "_validate_tool_call", decorated)
    graph(ToolNode(TOOLS)).invoke({"messages": [asking((MADE_UP, 1))]})
    assert counted(tap) == {"_OTHER": {"caller_error": 1}}


def test_a_node_that_handles_none(tap: Tap) -> None:
    node = graph(ToolNode(TOOLS, handle_tool_errors=False))
    with pytest.raises(LookupError):
        node.invoke({"messages": [asking(("fails", 1))]})
    assert counted(tap) == {"fails": {"exception": 1}}


def test_an_async_tool_in_a_node(tap: Tap) -> None:
    answer = asyncio.run(
        graph(ToolNode(TOOLS)).ainvoke({"messages": [asking(("adouble", 1), ("adouble", 2))]})
    )
    assert [message.content for message in answer["messages"][1:]] == ["2", "4"]
    assert counted(tap) == {"adouble": {"ok": 2}}


def test_an_interrupt_is_no_failure(tap: Tap) -> None:
    node = graph(ToolNode(TOOLS), checkpointer=MemorySaver())
    node.invoke({"messages": [asking(("asks", 1))]}, {"configurable": {"thread_id": "1"}})
    assert counted(tap) == {"asks": {"interim": 1}}
    assert tap.snapshot()["tool_metrics"]["asks"]["failed_calls"] == 0


def test_an_interrupt_that_is_resumed_is_interim_and_then_a_call(tap: Tap) -> None:
    types = pytest.importorskip("langgraph.types")
    if not hasattr(types, "interrupt"):
        pytest.skip("this old LangGraph has none")

    @tool
    def confirmed(number: int) -> str:
        """Ask a human, and do it."""
        return f"{types.interrupt('May I?')} {number}"

    node = graph(ToolNode([confirmed]), checkpointer=MemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    node.invoke({"messages": [asking(("confirmed", 1))]}, config)
    answer = node.invoke(types.Command(resume="yes"), config)
    assert answer["messages"][-1].content == "yes 1"
    assert counted(tap) == {"confirmed": {"interim": 1, "ok": 1}}


def test_a_tool_that_returns_a_command(tap: Tap) -> None:
    types = pytest.importorskip("langgraph.types")
    if "update" not in getattr(getattr(types, "Command", None), "__annotations__", {}):
        pytest.skip("this old LangGraph has none")
    from langchain_core.messages import ToolMessage

    @tool
    def remember(number: int) -> Any:
        """Update the state."""
        return types.Command(update={"messages": [ToolMessage(str(number), tool_call_id="call-0")]})

    try:
        answer = graph(ToolNode([remember])).invoke({"messages": [asking(("remember", 1))]})
        assert answer["messages"][-1].content == "1"
    except AttributeError:
        pytest.skip("these old versions do not pass it on")
    assert counted(tap) == {"remember": {"ok": 1}}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_agents_loop(is_async: bool, tap: Tap) -> None:
    def run() -> list[Any]:
        model = Model(
            messages=iter(
                [asking(("double", 1)), asking(("double", 2), (MADE_UP, 1)), AIMessage("done")]
            )
        )
        agent = create_react_agent(model, [double])
        state = {"messages": [HumanMessage("go")]}
        answer = asyncio.run(agent.ainvoke(state)) if is_async else agent.invoke(state)
        return [(message.type, message.content) for message in answer["messages"]]

    told = run()
    assert told[-1] == ("ai", "done")
    assert counted(tap) == {"double": {"ok": 2}, "_OTHER": {"caller_error": 1}}
    tap.shutdown()
    assert run() == told


def test_a_graph_in_a_tool(tap: Tap) -> None:
    inner = graph(ToolNode([double]))

    @tool
    def delegate(number: int) -> str:
        """Let a graph do it."""
        answer = inner.invoke({"messages": [asking(("double", number))]})
        return str(answer["messages"][-1].content)

    node = graph(ToolNode([delegate]))
    answer = node.invoke({"messages": [asking(("delegate", 2))]})
    assert answer["messages"][-1].content == "4"
    assert counted(tap) == {"delegate": {"ok": 1}, "double": {"ok": 1}}


def test_a_graph_streams_the_same() -> None:
    def streamed() -> list[str]:
        node = graph(ToolNode(TOOLS, handle_tool_errors=True))
        state = {"messages": [asking(("double", 1), ("fails", 1), (MADE_UP, 1))]}
        return [
            message.content
            for update in node.stream(state, stream_mode="updates")
            for message in update["tools"]["messages"]
        ]

    without = streamed()
    with metertap.instrument(json_endpoint=False):
        assert streamed() == without


def test_it_is_undone_by_identity() -> None:
    before = vars(ToolNode)["_validate_tool_call"]
    with metertap.instrument(json_endpoint=False):
        assert vars(ToolNode)["_validate_tool_call"] is not before
    assert vars(ToolNode)["_validate_tool_call"] is before
