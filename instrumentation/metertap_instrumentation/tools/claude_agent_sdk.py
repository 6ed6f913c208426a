"""Claude Agent SDK: tools in the process (`@tool`, `create_sdk_mcp_server`, custom servers).

These are tools of a low-level MCP server. From 0.2.140 on, mcp 1.x or 2.x runs that, so its calls
are counted there; this module only tells the cause of an error result, which the SDK itself makes
of any failure. Before, the SDK called the server's handlers directly: its own function for that is
wrapped, and counts.

Not seen: tools that Claude's command line runs, and those of servers in other processes; in early
versions `is_error` of a tool's result, which the SDK drops.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap.weight.definitions import Definition, definition
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version
from metertap_instrumentation.tools.mcp import errors, handlers, operations, requests
from metertap_instrumentation.tools.mcp.requests import Request
from metertap_instrumentation.tools.mcp.served import served_by

_RUN_BY_MCP = (0, 2, 140)
_METHODS = frozenset({operations.INITIALIZE, operations.TOOLS_LIST, operations.TOOLS_CALL})
_PLACE = "tool claude-agent-sdk"


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    if version >= _RUN_BY_MCP:
        targets = [
            Target("_tool_error_result", handlers.before(_PLACE, error_result)),
            Target("_convert_tool_content", handlers.before(_PLACE, content), optional=True),
        ]
        return [PatchSet("claude_agent_sdk", targets)]
    target = Target("Query._handle_sdk_mcp_request", handle_request)
    return [PatchSet("claude_agent_sdk._internal.query", [target])]


INSTRUMENTATION = Instrumentation(LIBRARIES["tools.claude_agent_sdk"], _patch_sets)


def error_result(_instance: Any, _args: Any, _kwargs: Any) -> None:
    """Note why the call in progress gets an error result: `_tool_error_result(message)`."""
    request = handlers.request_in_progress()
    if request is not None:
        _explain(request, _handled_by_caller())


def content(_instance: Any, _args: Any, _kwargs: Any) -> None:
    """Note that the handler has returned: `_convert_tool_content(items)` makes its answer."""
    request = handlers.request_in_progress()
    if request is not None:
        request.stops()


def _explain(request: Request, error: BaseException | None) -> None:
    if error is None:  # there is no tool of that name
        request.known = False
        request.noted = Ending(outcomes.CALLER_ERROR, outcomes.CALLER_ERROR)
    elif rejects_arguments(error):
        request.known = True
        request.noted = Ending(outcomes.CALLER_ERROR, outcomes.error_type(error))
    else:
        request.known = True
        request.fails(error)


def rejects_arguments(error: BaseException) -> bool:
    """Return whether the SDK rejected the arguments: it calls jsonschema directly."""
    asked = error.__traceback__ and error.__traceback__.tb_next
    if type(error).__name__ != "ValidationError" or asked is None:
        return False
    return str(asked.tb_frame.f_globals.get("__name__", "")).startswith("jsonschema")


def _handled_by_caller() -> BaseException | None:
    """Return the exception that the function that makes an error result is handling."""
    error = sys.exc_info()[1]
    traceback = None if error is None else error.__traceback__
    frame: Any = sys._getframe(3)
    for _ in range(4):  # wrapt's pure Python version has a frame of its own
        if frame is None or traceback is None:
            return None
        if traceback.tb_frame is frame:
            return error
        frame = frame.f_back
    return None


async def handle_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Count a request: `_handle_sdk_mcp_request(server_name, message)`, which always answers."""
    request = None
    with faults.guarded(_PLACE):
        request = _begin(instance.sdk_mcp_servers, *args, **kwargs)
    if request is None:
        return await wrapped(*args, **kwargs)
    try:
        answer = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded(_PLACE):
            hide_frame(error)
            request.raised(error)
        raise
    else:
        with faults.guarded(_PLACE):
            _answered(request, answer)
        return answer
    finally:
        request.abandon()


class _Request(Request):
    """A request to a server whose handlers the SDK calls itself; always one of mcp 1.x."""

    server: Any = None


def _answered(request: _Request, answer: Any) -> None:
    """Record that the SDK sends `answer` to Claude."""
    result, error = answer.get("result") or {}, answer.get("error")
    # Early versions never flag a result as an error; mcp's own layer has seen exceptions.
    failed = result.get("isError") or result.get("is_error") or request.noted is not None
    if request.frame is not None and request.known is None:
        listed = request.server._tool_cache  # the server fills it before it calls a tool
        if request.name in listed:
            request.known = True
        elif listed:
            request.known = False
    request.answer = result
    if error is not None:
        code = error["code"]
        request.end(Ending(errors.of_code(code), str(code)), code)
    elif failed:
        request.end(requests.TOOL_ERROR)
    else:
        if request.kind.method == operations.TOOLS_LIST:
            request.served.listed({tool["name"]: tool for tool in result["tools"]}, _of_line)
        if request.frame is None:
            request.end()
        else:
            request.succeed(result)


def _of_line(tool: Any) -> Definition:
    """Measure a definition as the SDK writes it for Claude's command line."""
    return definition(json.dumps(tool))


def _begin(servers: Any, server_name: str, message: Any) -> _Request | None:
    server, method = servers.get(server_name), message.get("method")
    if server is None or message.get("id") is None:
        return None
    if method not in _METHODS:
        method = catalogue.OTHER
    request = _Request.arrived(served_by(server), method, message.get("params"))
    request.server = server
    return request
