"""The frameworks on top of MCP's SDK: what is wrapped in them, and when a handler's function runs.

FastMCP and MCPServer are the SDK's own, fastmcp is a package. They validate arguments, and run
functions that are not async in threads, for which a call may have to wait. The time of a call
begins when its function is called.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from metertap import distributions, faults
from metertap.measuring.unfinished import can_be_awaited
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Live, Make, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.libraries import MEASURED_BY_OTHERS, parse_version
from metertap_instrumentation.tools.mcp import handlers
from metertap_instrumentation.tools.mcp.requests import Request


def patch_sets(package: str, dispatch: Make, calls: Sequence[Target]) -> list[PatchSet]:
    """Return the patches of the SDK's own framework, which is `package`, and of fastmcp.

    `dispatch` watches its `ToolManager`; `calls` are targets around a handler's function.
    """
    return [
        PatchSet(f"{package}.tools.tool_manager", [stand_in("ToolManager.call_tool", dispatch)]),
        PatchSet(f"{package}.utilities.func_metadata", calls),
        *_fastmcp_patch_sets(),
    ]


def _fastmcp_patch_sets() -> list[PatchSet]:
    installed = distributions.version("fastmcp")
    if installed is None:
        return []
    version = parse_version(installed)
    (library,) = MEASURED_BY_OTHERS
    lowest, end = library.supported
    if not lowest <= version < end:
        faults.warn_once(
            "version fastmcp",
            "fastmcp %s is outside the verified range %s to below %s; of its tools only what "
            "MCP's SDK sees is measured",
            installed,
            library.first,
            library.below,
        )
        return []
    if version < (3,):
        dispatch = "FastMCP._call_tool_middleware"
        tools = PatchSet(
            "fastmcp.tools.tool",
            [
                stand_in("FunctionTool.run", handlers.run),
                Target("without_injected_parameters", watch_function),
                stand_in("_convert_to_content", handlers.convert_content),
            ],
        )
        functions = []
    else:
        dispatch = "FastMCP.call_tool"
        tools = PatchSet(
            "fastmcp.tools.base" if version >= (3, 2) else "fastmcp.tools.tool",
            [
                stand_in("Tool._run", handlers.run),
                stand_in("Tool.convert_result", handlers.convert),
            ],
        )
        # Until 3.2, that module has imported the function by name.
        functions = [
            PatchSet(module, [Target("without_injected_parameters", watch_function, True)])
            for module in ("fastmcp.server.dependencies", "fastmcp.tools.function_tool")
        ]
    server = [
        stand_in(dispatch, handlers.dispatch_by_fastmcp),
        stand_in("FastMCP.get_tool", handlers.lookup),
    ]
    return [PatchSet("fastmcp.server.server", server), tools, *functions]


def _validated(*_args: Any, **_kwargs: Any) -> None:
    request = handlers.claimed_request()
    if request is not None:
        request.calls()


def _stopped(*error: BaseException) -> None:
    request = handlers.claimed_request()
    if request is not None:
        request.stops(*error)
        request.is_told = not error


validated = around(handlers.PLACE, _validated)
"""Watch the method that returns the validated arguments for a handler's function (mcp 1.x)."""


def call_function(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Watch `method(fn, is_async, …)`, which calls `fn`.

    A function that is not async waits for a thread, and in mcp 2.0 an async one for the validation
    of its arguments: these note their times themselves.
    """
    is_called_at_once = method.__name__ == "call_fn"

    async def call_fn(self: Any, fn: Any, *rest: Any, **named: Any) -> Any:
        request = None
        if live:
            try:
                request = handlers.claimed_request()
                if request is not None:
                    if not (rest[0] if rest else named["fn_is_async"]):
                        fn, request = functools.partial(_run, request, fn), None
                    elif is_called_at_once:
                        request.calls()
                    else:
                        fn = functools.partial(_start, request, fn)
            except Exception as fault:
                faults.fault(handlers.PLACE, fault)
        try:
            result = await method(self, fn, *rest, **named)
        except BaseException as error:
            hide_frame(error)
            if request is not None:
                _tell(request.stops, error)
            raise
        if request is not None:
            _tell(request.stops)
        return result

    return call_fn


def _tell(note: Callable[..., None], *error: BaseException) -> None:
    """Call `note`, which notes on a request what its handler does. Never raises."""
    try:
        note(*error)
    except Exception as fault:
        faults.fault(handlers.PLACE, fault)


def _start(request: Request, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a handler's async function, and note on `request` when that began."""
    _tell(request.calls)
    return function(*args, **kwargs)


def _run(request: Request, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a handler's function, and note on `request` when that began and ended."""
    _tell(request.calls)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        _tell(request.stops, error)
        raise
    _tell(request.stops)
    return result


_watched: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""Stand-ins for functions of fastmcp's tools, by the function's id: fastmcp 2 keeps them.

Each refers to its function, so no other object gets that id.
"""


def _stand_in_of(function: Any) -> Any:
    """Return a function that acts as `function`, and notes when it is called and when it ends.

    It may run in a thread, of whose end the event loop may hear much later.
    """
    found = _watched.get(id(function))
    if found is not None:
        return found
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            _tell(_validated)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                _tell(_stopped, error)
                raise
            _tell(_stopped)
            return result

    else:

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            _tell(_validated)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                _tell(_stopped, error)
                raise
            if not can_be_awaited(result):
                _tell(_stopped)
            return result

    _watched[id(function)] = call
    return call


def watch_function(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Watch `without_injected_parameters(fn)` of fastmcp, which returns the function to run.

    That runs once its arguments are validated and, if it is not async, in a thread.
    """
    with faults.guarded(handlers.PLACE):
        if args and handlers.claimed_request() is not None:
            args = (_stand_in_of(args[0]), *args[1:])
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
