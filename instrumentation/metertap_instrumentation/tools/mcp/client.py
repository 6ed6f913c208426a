"""MCP clients, both SDK versions: `ClientSession.send_request`, once for each request sent.

`mcp.Client` and `fastmcp.Client` call it, too. A client and a server in one process both record,
each with its own instrument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.measuring.calls import clock
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around, fitting
from metertap.patching.targets import Live, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import errors, weights
from metertap_instrumentation.tools.mcp.names import KnownNames
from metertap_instrumentation.tools.mcp.operations import (
    INITIALIZE,
    NAMING,
    PROMPTS_GET,
    PROMPTS_LIST,
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
_LOOKED_AT = frozenset({INITIALIZE, TOOLS_LIST, PROMPTS_LIST})
"""Methods whose answers contain names, or the protocol's version."""
_find_kind = _kinds.find


def patch_sets() -> Sequence[PatchSet]:
    """Return the patch of a client's requests, the same in every version."""
    return [PatchSet("mcp.client.session", [stand_in("ClientSession.send_request", send)])]


_Sent = tuple[Any, Key, float]
"""A session, the key of its request, and when that was sent, by `clock`."""

# Fields of pydantic models are read from `__dict__`: for a missing attribute, a model takes
# microseconds to raise.


def _key(session: Any, request: Any) -> Key:
    """Return the key of what `session` requests by `request`."""
    asked = request.__dict__
    if "root" in asked:  # 1.x wraps it
        asked = asked["root"].__dict__
    method, name = asked["method"], None
    if method in NAMING and (params := asked["params"]) is not None:
        # A dictionary if the program made the request by hand.
        name = (params if type(params) is dict else params.__dict__).get("name")
    version = getattr(session, "protocol_version", None)
    return method, name, version, transport_of(id(session), UNKNOWN)


def _begin(session: Any, request: Any = None, *_rest: Any, **_named: Any) -> _Sent | None:
    """Begin one request: `send_request(request, …)`. None is a caller's mistake."""
    return None if request is None else (session, _key(session, request), clock())


def _sends(original: Any, live: Live) -> Any:
    """Make the stand-in for `send_request`, with its parameters in known versions."""

    async def send_request(
        self: Any,
        request: Any,
        result_type: Any,
        request_read_timeout_seconds: Any = None,
        metadata: Any = None,
        progress_callback: Any = None,
    ) -> Any:
        key: Key | None = None
        if live and request is not None:
            try:
                key = _key(self, request)
                started = clock()
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            result = await original(
                self,
                request,
                result_type,
                request_read_timeout_seconds,
                metadata,
                progress_callback,
            )
        except BaseException as error:
            hide_frame(error)
            if key is not None:
                with faults.guarded(_PLACE):
                    _raised(self, key, started, error)
            raise
        if key is not None:
            try:
                _answered(self, key, started, result)
            except Exception as error:
                faults.fault(_PLACE, error)
        return result

    return send_request


def _answered(session: Any, key: Key, started: float, result: Any) -> None:
    """Record a request that was answered by `result`."""
    now = clock()
    kind = _find_kind(key)
    try:
        fields = result.__dict__
    except AttributeError:  # no model: a program may have its own type of results
        fields = {}
    # The second name is that in 1.x.
    is_error = fields["is_error"] if "is_error" in fields else fields.get("isError")
    if (
        kind is not None
        and not is_error
        and (route := kind.route) is not None
        and (content := fields.get("content")) is not None
    ):
        tick = kind.series.tick
        try:
            tick()
        except StopIteration:
            kind.series.due()
        if weight := kind.weight:
            size = weight.size_of_content(content) if content else weights.size(weight, fields)
            route.keep((now, size, now - started))
        else:
            route.keep((now, now - started))
        return
    if kind is None:
        if not is_error:
            _learn(key[0], key[1], result)
        kind = _kind(session, key)
    _record(kind, fields, is_error, now - started, now)


def _record(
    kind: Kind, fields: Mapping[str, Any], is_error: object, seconds: float, now: float
) -> None:
    """Record an answered request that is not kept by a route."""
    if kind.method != TOOLS_CALL and not is_error:
        kind.record(seconds, now)
        return
    if kind.route is not None:
        kind.series.settle()
    if fields.get("content") is not None:
        weights.received(kind, fields)
    if is_error:
        kind.record_as(kind.name, outcomes.TOOL_ERROR, None, seconds, now)
        return
    kind.record_as(kind.name, None, None, seconds, now)
    if kind.route is None:
        kind.open_route(kind.weight or None)


def _raised(session: Any, key: Key, started: float, error: BaseException) -> None:
    """Record a request that ended by `error`."""
    now = clock()
    kind = _find_kind(key) or _kind(session, key)
    code = errors.code_of(error)
    error_type = outcomes.error_type(error) if code is None else str(code)
    kind.record_as(kind.name, error_type, code, now - started, now)


def _kind(session: Any, key: Key) -> Kind:
    """Return the kind of a request, and keep it if only its answer has to be looked at."""
    method, name, version, transport = key
    if method == INITIALIZE:
        version = getattr(session, "protocol_version", None)  # the answer to `initialize` has it
    if transport is UNKNOWN:  # the request was sent before the session began to read
        transport = transport_of(id(session), UNKNOWN)
    label = name
    if name is not None:
        # The caller may be a model that invents names: only names that were answered for are
        # labels.
        label = (_tools if method == TOOLS_CALL else _prompts).label(name)
    kind = Kind(catalogue.CLIENT_DURATION, (method, label, version, transport))
    if label == name and method not in _LOOKED_AT and transport is key[3]:
        _kinds.keep(key, kind)
    return kind


def _learn(method: str, name: str | None, result: Any) -> None:
    """Learn the names that are in `result`, or the one that it answers for."""
    if method == TOOLS_CALL:
        if name is not None:
            _tools.learn(name)
    elif method == TOOLS_LIST:
        tools = {tool.name: tool for tool in getattr(result, "tools", ())}
        for tool in tools:
            _tools.learn(tool)
        weights.listed(tools, weights.of_received, weights.CLIENT_SOURCE, catalogue.CLIENT)
    elif method == PROMPTS_LIST:
        for prompt in getattr(result, "prompts", ()):
            _prompts.learn(prompt.name)
    elif method == PROMPTS_GET and name is not None:
        _prompts.learn(name)


send = fitting(
    "self, request, result_type, "
    "request_read_timeout_seconds=None, metadata=None, progress_callback=None",
    _sends,
    around(
        _PLACE,
        _begin,
        lambda sent, result: _answered(sent[0], sent[1], sent[2], result),
        lambda sent, error: _raised(sent[0], sent[1], sent[2], error),
    ),
)
"""Measure `ClientSession.send_request(request, …)`."""
