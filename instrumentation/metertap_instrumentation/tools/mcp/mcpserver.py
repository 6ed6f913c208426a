"""Calls of an `MCPServer`'s tools, of mcp 2.x: what its layers note of the call in progress.

They note what `handlers` and `frameworks` note for any framework. But a call that goes well is
noted on its frame, and no `Request` is made for it.
"""

from __future__ import annotations

import functools
from typing import Any

from metertap import distributions, faults
from metertap.measuring.calls import Frame, clock, current
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import fitting
from metertap.patching.targets import Live, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.libraries import parse_version
from metertap_instrumentation.tools.mcp import frameworks, handlers
from metertap_instrumentation.tools.mcp.operations import Kind
from metertap_instrumentation.tools.mcp.requests import CALLED, CLAIMED, request_of

_current = current.get


def patch_sets() -> list[PatchSet]:
    """Return the patches of `MCPServer`, and of fastmcp."""
    is_first = parse_version(distributions.version("mcp") or "") < (2, 1)
    name = "call_fn_with_arg_validation" if is_first else "call_fn"
    function = stand_in(f"FuncMetadata.{name}", call_function)
    return frameworks.patch_sets("mcp.server.mcpserver", dispatch, [function])


def _dispatches(original: Any, live: Live) -> Any:
    general = handlers.dispatch_by_manager(original, live)

    async def call_tool(
        self: Any, name: Any, arguments: Any, context: Any, convert_result: Any = False
    ) -> Any:
        frame = None
        if live:
            frame = _current()
            if (
                frame is not None
                and type(kind := frame[1]) is Kind
                and frame[7] is None
                and kind.name == name
            ):
                frame[7] = CLAIMED
            else:
                frame = None
        try:
            if frame is None:
                return await general(self, name, arguments, context, convert_result)
            return await original(self, name, arguments, context, convert_result)
        except BaseException as error:
            hide_frame(error)
            if frame is not None and isinstance(error, Exception):
                with faults.guarded(handlers.PLACE):
                    if frame[1] is not None:
                        request_of(frame).fails(error)
            raise

    return call_tool


def _calls(original: Any, live: Live) -> Any:
    general = frameworks.call_function(original, live)

    async def call_fn(
        self: Any, fn: Any, fn_is_async: Any, arguments: Any, arguments_to_pass_directly: Any = None
    ) -> Any:
        frame = None
        if live:
            frame = _current()
            if frame is not None and (type(frame[1]) is not Kind or frame[7] is not CLAIMED):
                frame = None
        try:
            if frame is None:
                return await general(self, fn, fn_is_async, arguments, arguments_to_pass_directly)
            if not fn_is_async:  # it waits for a thread, and notes its times itself
                watched = functools.partial(_run, frame, fn)
                return await original(
                    self, watched, fn_is_async, arguments, arguments_to_pass_directly
                )
            _begins(frame)
            result = await original(self, fn, fn_is_async, arguments, arguments_to_pass_directly)
        except BaseException as error:
            hide_frame(error)
            if frame is not None and fn_is_async:
                _ends(frame, error)
            raise
        _ends(frame)
        return result

    return call_fn


def _run(frame: Frame, function: Any, /, **arguments: Any) -> Any:
    """Call a handler's function, and note on its call when that began and ended."""
    # Most often the call takes notes itself: `_begins` and `_ends` are inlined, to save a call.
    if frame[7] is CLAIMED and type(frame[1]) is Kind:
        frame[7] = CALLED
        frame[6] = clock()
    else:
        _begins(frame)
    try:
        result = function(**arguments)
    except BaseException as error:
        hide_frame(error)
        _ends(frame, error)
        raise
    if type(frame[1]) is Kind:
        frame[9] = clock()
    else:
        _ends(frame)
    return result


def _begins(frame: Frame) -> None:
    """Note that a handler's function is called now; only the first time counts. Never raises."""
    try:
        if type(frame[1]) is not Kind:
            if frame[1] is not None:
                request_of(frame).calls()
        elif frame[7] is CLAIMED:
            frame[7] = CALLED
            frame[6] = clock()
    except Exception as fault:
        faults.fault(handlers.PLACE, fault)


def _ends(frame: Frame, error: BaseException | None = None) -> None:
    """Note that a handler's function returned, or raised `error`. Never raises."""
    try:
        if type(frame[1]) is Kind and error is None:
            frame[9] = clock()
        elif frame[1] is not None:
            request_of(frame).stops(error)
    except Exception as fault:
        faults.fault(handlers.PLACE, fault)


dispatch = fitting(
    "self, name, arguments, context, convert_result=None",
    _dispatches,
    handlers.dispatch_by_manager,
)
"""Watch `ToolManager.call_tool(name, …)`."""
call_function = fitting(
    "self, fn, fn_is_async, arguments, arguments_to_pass_directly=None",
    _calls,
    frameworks.call_function,
)
"""Watch `FuncMetadata.call_fn(fn, is_async, …)`, which calls `fn`."""
