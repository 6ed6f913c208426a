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
from metertap_instrumentation.tools.mcp import errors
from metertap_instrumentation.tools.mcp.names import KnownNames
from metertap_instrumentation.tools.mcp.operations import (
    NAMING,
    PROMPTS_GET,
    TOOLS_CALL,
    TOOLS_LIST,
    UNKNOWN,
    Key,
    Kind,
    Kinds,
)
from metertap_instrumentation.tools.mcp.sessions import transport_of

_PLACE = "mcp.client"

_tools = KnownNames()
_prompts = KnownNames()
_kinds = Kinds()


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


# Fields of pydantic models are read from `__dict__`: asked for one that it lacks, a model takes
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
    now = clock()
    given = args[0] if args else kwargs.get("request")
    if given is None:
        return  # a mistake of the caller's, who has been told so
    request = given.__dict__
    if "root" in request:  # 1.x wraps it
        request = request["root"].__dict__
    method, name = request["method"], None
    if method in NAMING and request["params"] is not None:
        name = request["params"].__dict__.get("name")
    version = getattr(session, "protocol_version", None)
    key = (method, name, version, transport_of(id(session), UNKNOWN))
    kind = _kinds.find(key)
    if result is not None:
        fields = result.__dict__
        if fields.get("is_error") or fields.get("isError"):  # 2.x, 1.x
            error_type = outcomes.TOOL_ERROR
        elif kind is not None:
            kind.record(now - started, now)
            return
        else:
            _learn(method, name, result)
    if kind is None:
        kind = _kind(key)
    kind.record_as(kind.name, error_type, code, now - started, now)


def _kind(key: Key) -> Kind:
    """Make the kind of a request, and keep it if nothing but its answer has to be looked at."""
    method, name, version, transport = key
    label = name
    if name is not None:
        # The caller may be a model that makes names up: those that were answered for are labels.
        label = (_tools if method == TOOLS_CALL else _prompts).label(name)
    kind = Kind(catalogue.CLIENT_DURATION, (method, label, version, transport))
    if label == name and method != TOOLS_LIST:  # the answer to that holds names
        _kinds.keep(key, kind)
    return kind


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
