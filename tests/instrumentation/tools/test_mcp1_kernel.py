"""The functions of the SDK 1.x that every request of a server passes, called by themselves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, faults
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import requests, sessions, v1, v1_handlers
from metertap_instrumentation.tools.mcp.operations import PIPE
from metertap_instrumentation.tools.mcp.served import served_by
from support.interrupting import everywhere
from support.metric_data import points

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]


class Server:
    """Stands for the SDK's `Server`: it raises what is wrong, or never answers."""

    name = "shop"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self._tool_cache: dict[str, object] = {"search": object()}

    async def handle(
        self, message: Any, req: Any, session: Any, lifespan_context: Any, raise_exceptions: Any
    ) -> None:
        if self.error is not None:
            raise self.error

    async def handle_otherwise(self, message: Any) -> None:
        """Do the same with parameters that no known version of the SDK has."""
        if self.error is not None:
            raise self.error


handle: Any = v1.serve(Server.handle, [True])
handle_otherwise: Any = v1.serve(Server.handle_otherwise, [True])


def message(method: str, **params: Any) -> Any:
    root = SimpleNamespace(method=method, params=SimpleNamespace(**params))
    return SimpleNamespace(request=SimpleNamespace(root=root), message_metadata=None)


def asked(server: Server) -> dict[str, dict[str, int]]:
    """Call its tool, and return the outcomes of tools."""
    served_by(server).tools.add(["search"], None, None)
    asyncio.run(handle(server, message("tools/call", name="search"), None, None, None, False))
    return outcomes()


def outcomes() -> dict[str, dict[str, int]]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    assert all(tool["active_calls"] == 0 for tool in tools.values())
    return {
        name: {ended: count for ended, count in tool["outcomes"].items() if count}
        for name, tool in tools.items()
    }


def test_a_request_without_an_answer_was_cancelled() -> None:
    assert asked(Server()) == {"search": {"cancelled": 1}}


def test_a_server_of_another_version_is_measured_as_well() -> None:
    for server in (Server(), Server(KeyError())):
        served_by(server).tools.add(["search"], None, None)
        with suppress(KeyError):
            asyncio.run(handle_otherwise(server, message("tools/call", name="search")))
    assert outcomes() == {"search": {"cancelled": 1, "exception": 1}}


def test_a_request_that_names_its_tool_by_no_text_is_measured_as_any_other() -> None:
    server = Server()
    asked(server)  # so that what comes next is of a server that is known
    for params in ({}, {"name": ["search"]}):
        asyncio.run(handle(server, message("tools/call", **params), None, None, None, False))
    assert outcomes() == {"search": {"cancelled": 1}, catalogue.OTHER: {"cancelled": 2}}


def test_what_a_server_raises_is_the_end_of_the_call() -> None:
    with pytest.raises(KeyError):
        asked(Server(KeyError()))
    assert outcomes() == {"search": {"exception": 1}}


@pytest.mark.faults
def test_a_call_whose_error_cannot_be_read_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.errors, "meaning", None)
    with pytest.raises(KeyError):
        asked(Server(KeyError()))
    assert faults.fault_counts() == {"mcp.request": 1}
    assert outcomes() == {}


class Responder:
    """Stands for the SDK's `RequestResponder` of a request for the tool."""

    cancelled = False
    message_metadata = None

    def __init__(self) -> None:
        self.request = message("tools/call", name="search").request

    async def respond(self, response: Any) -> None:
        """Send nothing."""


class Answering(Server):
    """A server that answers."""

    async def handle(
        self, message: Any, req: Any, session: Any, lifespan_context: Any, raise_exceptions: Any
    ) -> None:
        text = SimpleNamespace(type="text", text="done")
        await respond(message, SimpleNamespace(isError=False, content=[text]))


respond: Any = v1.respond(Responder.respond, [True])
answers: Any = v1.serve(Answering.handle, [True])


@pytest.mark.parametrize("is_known", [False, True])
def test_a_call_that_is_interrupted_is_over_and_counts_once_at_most(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder(), "sampled_context", None)
    server = Answering()
    tool = recorder().tool("search", served_by(server).source)

    def call() -> None:
        coroutine = answers(server, Responder(), None, None, None, False)
        try:
            with suppress(StopIteration):
                coroutine.send(None)
        finally:
            coroutine.close()

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        inside = Context()
        before = tool.figures().counts["ok"]
        if not is_known:
            served_by(server).kinds.forget()

        def check(number: int) -> None:
            assert tool.active == 0, number
            assert tool.figures().counts["ok"] - before in {0, 1}, number

        return lambda: inside.run(call), check

    for _ in range(2):  # the first one opens what the others are kept in
        Context().run(call)
    assert everywhere(prepare) > 20
    assert faults.fault_counts() == {}
    assert tool.figures().counts["ok"] > 2


def test_a_session_says_what_it_is_initialized_over(reader: InMemoryMetricReader) -> None:
    token = sessions._carrier.set(sessions._Carrier(PIPE))
    try:
        first, second = Server(), Server()
        for session in (first, second):  # the second cannot have the same pipe
            request = v1._begin_initialize(session, message("initialize"))
            assert request is not None
            request.end()
    finally:
        sessions._carrier.reset(token)
    found = points(reader, "mcp.server.operation.duration")
    transports = [point.attributes.get("network.transport") for point in found]
    assert sorted(transports, key=str) == [None, "pipe"]
    assert v1._begin_initialize(first, message("ping")) is None


def test_the_schema_that_an_answer_is_checked_by_is_that_of_its_tool() -> None:
    schema: dict[str, object] = {}
    of_tool: Any = SimpleNamespace(definition=SimpleNamespace(outputSchema=schema))
    assert v1_handlers._is_of_answer(of_tool, schema)
    assert not v1_handlers._is_of_answer(of_tool, {})
    unknown: Any = SimpleNamespace(definition=None)
    assert v1_handlers._is_of_answer(unknown, schema)


def test_what_no_frame_of_the_sdk_asks_or_handles_is_not_the_sdks() -> None:
    for frame in (None, sys._getframe()):
        assert not v1_handlers._validates_answer(frame)
    assert not v1_handlers._is_handled_by_caller(KeyError("never raised"))


@pytest.mark.parametrize("between", [[], ["metertap.patching.parameters"]])
def test_arguments_that_do_not_fit_are_known_by_who_refused_them(between: list[str]) -> None:
    """On Python 3.10 a frame of ours stays between the SDK's handler and its validator."""

    def refuse() -> None:
        raise ValueError("do not fit")

    inner = refuse
    for module in ["jsonschema.validators", *between]:
        scope: dict[str, Any] = {"__name__": module, "inner": inner}
        exec("def call(): inner()", scope)
        inner = scope["call"]
    request: Any = SimpleNamespace(is_claimed=False, frame=None)
    try:
        inner()
    except ValueError as error:
        v1_handlers._note(request, error)
    assert (request.known, request.noted.outcome) == (True, "caller_error")


def test_the_page_of_a_list_is_told_by_its_cursor() -> None:
    found = [
        v1._new(Server(), message(method, cursor="1")).cursor
        for method in ("tools/list", "prompts/list")
    ]
    assert found == ["1", None]
    whole = SimpleNamespace(
        request=SimpleNamespace(root=SimpleNamespace(method="tools/list", params=None)),
        message_metadata=None,
    )
    assert v1._new(Server(), whole).cursor is None


def test_the_server_knows_which_tools_it_has_where_no_client_has_asked() -> None:
    server = Server()

    def is_listed(name: str, *, failed: bool) -> bool | None:
        # In a context of its own: the call begins here, and never ends.
        request = copy_context().run(v1._new, server, message("tools/call", name=name))
        found: bool | None = request.is_listed(failed=failed)
        return found

    assert is_listed("search", failed=True) is True
    assert is_listed("made_up", failed=True) is False
    assert is_listed("made_up", failed=False) is None
    server._tool_cache.clear()
    assert is_listed("made_up", failed=True) is None
