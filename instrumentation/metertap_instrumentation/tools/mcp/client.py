"""MCP clients, both SDK versions: `ClientSession.send_request`, once for each request sent.

`mcp.Client` and `fastmcp.Client` end there too. A client and a server in one process both record,
each with its own instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.measuring.calls import clock
from metertap.patching.patch_set import Live, PatchSet, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import errors, sessions
from metertap_instrumentation.tools.mcp.names import KnownNames
from metertap_instrumentation.tools.mcp.operations import (
    PROMPTS_GET,
    TOOLS_CALL,
    TOOLS_LIST,
    record_request,
)

_PLACE = "mcp.client"

_tools = KnownNames()
_prompts = KnownNames()


def patch_sets() -> Sequence[PatchSet]:
    """Return what is wrapped in every version."""
    return [PatchSet("mcp.client.session", [stand_in("ClientSession.send_request", send_request)])]


def send_request(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Measure one request: `send_request(request, …)`."""

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not live:
            return await method(self, *args, **kwargs)
        started = clock()
        try:
            result = await method(self, *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            with faults.guarded(_PLACE):
                code = errors.code_of(error)
                error_type = outcomes.error_type(error) if code is None else str(code)
                _record(self, args, kwargs, started, error_type, code)
            raise
        try:
            _record(self, args, kwargs, started, None, None, result)
        except Exception as fault:
            faults.fault(_PLACE, fault)
        return result

    return call


# Fields of pydantic models are read from `vars`: asked for one that it lacks, a model takes
# microseconds to say so.


def _record(
    session: Any,
    args: Any,
    kwargs: Any,
    started: float,
    error_type: str | None,
    code: int | None,
    result: Any = None,
) -> None:
    seconds = clock() - started
    given = args[0] if args else kwargs.get("request")
    if given is None:
        return  # a mistake of the caller's, who has been told so
    request = vars(given)
    if "root" in request:  # 1.x wraps it
        request = vars(request["root"])
    method, params = request["method"], request.get("params")
    name = None if params is None else vars(params).get("name")
    if result is not None:
        fields = vars(result)
        if fields.get("is_error") or fields.get("isError"):  # 2.x, 1.x
            error_type = outcomes.TOOL_ERROR
        else:
            _learn(method, name, result)
    label = None
    if name is not None:
        # The caller may be a model that makes names up: those that were answered for are labels.
        if method == TOOLS_CALL:
            label = _tools.label(name)
        elif method == PROMPTS_GET:
            label = _prompts.label(name)
    record_request(
        catalogue.CLIENT_DURATION,
        seconds,
        method,
        label,
        error_type,
        code,
        getattr(session, "protocol_version", None),
        sessions.of_client(session),
    )


def _learn(method: str, name: str | None, result: Any) -> None:
    """Take in that `result` answers for the names in it, or for the one that was asked for."""
    if method == TOOLS_CALL:
        if name is not None:
            _tools.learn(name)
    elif method == TOOLS_LIST:
        for tool in getattr(result, "tools", ()):
            _tools.learn(tool.name)
    elif method == PROMPTS_GET and name is not None:
        _prompts.learn(name)
