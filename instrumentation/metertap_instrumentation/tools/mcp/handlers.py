"""The layers around a tool's handler: they note what they know of a call, and count nothing.

MCPServer and fastmcp turn exceptions into error results before the server answers, log them, and
validate a tool's arguments and results. They are watched here to note on the request in progress
which exception it was, whether the tool exists, and when the handler began and ended: a call takes
as long as its handler, whatever the framework does before and after.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import OWNER, SERIES
from metertap.patching.shell import around
from metertap.patching.targets import Live, WrapperFunction
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp.operations import Kind
from metertap_instrumentation.tools.mcp.requests import Request, request_of

PLACE = "mcp.handler"

_current = calls.current.get


def before(place: str, note: Callable[[Any, Any, Any], object]) -> WrapperFunction:
    """Return a wrapper that calls `note(instance, args, kwargs)` before the wrapped function."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded(place):
            note(instance, args, kwargs)
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return call


def request_in_progress() -> Request | None:
    """Return the tool call in which this code runs, if a request is the innermost call."""
    frame = _current()
    if frame is None:
        return None
    owner = frame[OWNER]
    if isinstance(owner, Request):
        return owner
    if owner is None or not frame[SERIES]:
        frame = calls.in_progress()
        owner = None if frame is None else frame[OWNER]
    if frame is not None and isinstance(owner, Kind):
        return request_of(frame)
    return owner if isinstance(owner, Request) else None


def claimed_request() -> Request | None:
    """Return the request in progress, if a framework dispatches that very call."""
    request = request_in_progress()
    return request if request is not None and request.is_claimed else None


def claim(name: object) -> Request | None:
    """Return the request in progress if it is for `name`, and no outer layer has claimed it.

    A tool or a handler may call other tools in the process: those are not the request's.
    """
    request = request_in_progress()
    if request is None or request.is_claimed or request.name != name:
        return None
    request.is_claimed = True
    return request


def _dispatches_by_manager(manager: Any, name: object = None, *_rest: Any, **_named: Any) -> Any:
    request = claim(name)
    if request is not None and not request.is_registered:
        if manager.get_tool(request.name) is None:
            request.known = False
        else:
            request.exists()
    return request


def _raised(request: Request, error: BaseException) -> None:
    """Report `error` to `request`."""
    if isinstance(error, Exception):
        request.fails(error)


dispatch_by_manager = around(PLACE, _dispatches_by_manager, raised=_raised)
"""Watch `ToolManager.call_tool(name, …)` of MCPServer and of the SDK's FastMCP."""


def _named(_owner: Any, name: object = None, *_rest: Any, key: object = None, **_named: Any) -> Any:
    """Return a tool's name among the arguments of fastmcp's methods, under either keyword."""
    return key if name is None else name


dispatch_by_fastmcp = around(
    PLACE, lambda *args, **kwargs: claim(_named(*args, **kwargs)), raised=_raised
)
"""Watch `FastMCP.call_tool(name, …)`, which calls itself: the outermost call sees all."""


def _looks_up(*args: Any, **kwargs: Any) -> Request | None:
    request = request_in_progress()
    return request if request is not None and request.name == _named(*args, **kwargs) else None


def _found(request: Request, tool: object) -> None:
    if tool is not None:
        request.exists()


lookup = around(PLACE, _looks_up, _found)
"""Watch the look-up of a tool by name, which tells whether the called tool exists."""


def _runs(*_args: Any, **_kwargs: Any) -> Request | None:
    request = claimed_request()
    if request is not None:
        request.begins()
    return request


run = around(
    PLACE,
    _runs,
    lambda request, _result: request.returns(),
    lambda request, error: request.stops(error),
)
"""Watch the method that runs one of fastmcp's tools, and returns its result or raises."""


def _converts(*_args: Any, **_kwargs: Any) -> None:
    request = claimed_request()
    if request is not None:
        request.converts()


convert = around(PLACE, _converts)
"""Watch the method that makes an answer of a value that a tool has just returned."""


def convert_content(function: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Watch the same in fastmcp 2, where other code than the one that runs tools calls it, too."""
    watched = convert(function, live)

    def convert_content(*args: Any, **kwargs: Any) -> Any:
        runs = sys._getframe(1).f_code.co_name == "run"
        try:
            return (watched if runs else function)(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return convert_content
