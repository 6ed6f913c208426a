"""The meaning of an exception behind an MCP error, by its type and place, never by its text.

The SDKs and fastmcp wrap what a tool raises (`raise ToolError(...) from error`), and raise the same
classes themselves for a tool that does not exist or arguments that do not fit. The modules in the
exception's traceback distinguish these.
"""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

from metertap import outcomes

_FRAMEWORKS = ("mcp.", "mcp_types.", "fastmcp.")
_TOOL_CALLERS = (
    "mcp.server.fastmcp.utilities.",
    "mcp.server.mcpserver.utilities.",
    "mcp.server.mcpserver.resolve",
    "fastmcp.tools.",
    "fastmcp.utilities.",
    "fastmcp.server.dependencies",
)
"""Modules that call a tool's own code. Middleware and handlers are called by others."""
_BETWEEN = ("pydantic", "anyio", "asyncio", "threading", "contextlib", "metertap")
"""Modules that may be between those and the code that they call."""
_SENDERS = ("mcp.client.", "mcp.shared.", "fastmcp.client.")
"""Modules that send requests: a code in their errors is another program's answer."""
_ARGUMENT_VALIDATION = frozenset({"call_fn_with_arg_validation", "validate_arguments", "run"})
"""The only functions that validate a tool's arguments (`run`: fastmcp 2)."""
_NOT_FOUND = frozenset({"NotFoundError", "DisabledError"})
_REFUSALS = frozenset({"AuthorizationError", "InsufficientScopeError"})

# JSON-RPC and MCP error codes
INVALID_PARAMS = -32602
_CALLER_CODES = frozenset({-32700, -32600, -32601, INVALID_PARAMS})
_TIMEOUT_CODES = frozenset({-32001, 408})
_URL_ELICITATION_REQUIRED = -32042


class Meaning(NamedTuple):
    """The outcome of a call; `known` tells whether its tool exists, if the error shows that."""

    outcome: str
    error_type: str
    known: bool | None = None


def of_code(code: int) -> str:
    """Return the outcome that a JSON-RPC error code means."""
    if code in _CALLER_CODES:
        return outcomes.CALLER_ERROR
    if code in _TIMEOUT_CODES:
        return outcomes.TIMEOUT
    if code == _URL_ELICITATION_REQUIRED:
        return outcomes.INTERIM
    return outcomes.EXCEPTION


def code_of(error: BaseException) -> int | None:
    """Return the JSON-RPC code of an `MCPError` (2.x) or `McpError` (1.x); None for others."""
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, int) and _is_framework_class(type(error)) else None


def is_malformed_request(error: BaseException) -> bool:
    """Return whether the SDK itself, and no handler, found that a request is malformed."""
    return type(error).__name__ == "ValidationError" and _was_raised_in(
        error, ("mcp.server.runner", "mcp_types.")
    )


def meaning(error: BaseException, *, inside: bool = False) -> Meaning:
    """Return what `error`, raised in dispatching a request or below, means for the call.

    `inside` the tool's own code, it tells nothing of how the tool was called.
    """
    named = outcomes.error_type(error)
    code = code_of(error)
    inside = inside or _came_out_of_tool(error)
    if _was_raised_in(error, _FRAMEWORKS):
        if not inside:
            if _rejects_arguments(error):
                return Meaning(outcomes.CALLER_ERROR, "ValidationError", known=True)
            if type(error).__name__ in _NOT_FOUND:
                return Meaning(outcomes.CALLER_ERROR, named, known=False)
            if type(error).__name__ in _REFUSALS:
                return Meaning(outcomes.CALLER_ERROR, named)
        if code is None and error.__cause__ is not None and _is_framework_class(type(error)):
            return meaning(error.__cause__, inside=inside)
        # Time limits of fastmcp and of clients: a code that was raised while handling TimeoutError.
        if code is not None and _is_timeout(error.__context__):
            return Meaning(outcomes.TIMEOUT, outcomes.error_type(error.__context__ or error))
    if code is not None:
        if not _was_raised_in(error, _SENDERS):
            return Meaning(of_code(code), str(code))
        return Meaning(outcomes.TIMEOUT if code in _TIMEOUT_CODES else outcomes.EXCEPTION, named)
    if _is_tool_error(error):
        return Meaning(outcomes.TOOL_ERROR, named)
    return Meaning(outcomes.of_exception(error), named)


def _rejects_arguments(error: BaseException) -> bool:
    """Return whether the arguments did not fit: pydantic's own error, or one raised from it."""
    rejection: BaseException | None = error
    if _is_framework_class(type(error)):
        rejection = error.__cause__
    if rejection is None or type(rejection).__name__ != "ValidationError":
        return False
    if type(error).__name__ == "ValidationError" and rejection is not error:
        return True  # fastmcp's own class has no other meaning
    module, function = _origin(rejection)
    return module.startswith(_FRAMEWORKS) and function in _ARGUMENT_VALIDATION


def _came_out_of_tool(error: BaseException) -> bool:
    """Return whether `error` passed the tool's own code, and so is about its work."""
    caller = ""
    for module, _ in _frames(error):
        if module.startswith(_FRAMEWORKS):
            caller = module
        elif caller.startswith(_TOOL_CALLERS) and not module.startswith(_BETWEEN):
            return True
    return False


def _is_tool_error(error: BaseException) -> bool:
    """Return whether `error` is a ToolError of the SDK or of fastmcp, or of a subclass."""
    return any(
        cls.__name__ == "ToolError" and cls.__module__.startswith(_FRAMEWORKS)
        for cls in type(error).__mro__
    )


def _is_framework_class(cls: type) -> bool:
    return any(base.__module__.startswith(_FRAMEWORKS) for base in cls.__mro__)


def _is_timeout(error: BaseException | None) -> bool:
    return error is not None and outcomes.is_timeout(error)


def _was_raised_in(error: BaseException, modules: tuple[str, ...]) -> bool:
    return _origin(error)[0].startswith(modules)


def _origin(error: BaseException) -> tuple[str, str]:
    """Return the module and function that raised `error`, or that called pydantic if that did."""
    frames = [frame for frame in _frames(error) if not frame[0].startswith("pydantic")]
    return frames[-1] if frames else ("", "")


def _frames(error: BaseException) -> list[tuple[str, str]]:
    """Return (module, function) of each frame of the traceback, outermost first."""
    found = []
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        found.append((str(frame.f_globals.get("__name__", "")), frame.f_code.co_name))
        traceback = traceback.tb_next
    return found
