"""What an exception behind an MCP error result means. Types and places only, never message text.

The SDKs and fastmcp wrap what a tool raises: `raise ToolError(...) from error`. Such a wrapper is
told from a `ToolError` that the tool raised itself by the module in which it was raised.
"""

from __future__ import annotations

from types import TracebackType

from metertap import outcome
from metertap.calls import Call

_FRAMEWORKS = ("mcp.", "fastmcp.")
_ARGUMENT_VALIDATION = frozenset({"call_fn_with_arg_validation", "validate_arguments"})
"""Functions of both SDKs, the only ones in which a tool's arguments meet their model."""
_REFUSALS = frozenset({"AuthorizationError", "InsufficientScopeError"})
_NOT_FOUND = frozenset({"NotFoundError", "DisabledError"})

# JSON-RPC and MCP error codes
_CALLER_CODES = frozenset({-32700, -32600, -32601, -32602})
_TIMEOUT_CODES = frozenset({-32001, 408})
_URL_ELICITATION_REQUIRED = -32042


def of_code(code: int) -> str:
    """The outcome that a JSON-RPC error code stands for."""
    if code in _CALLER_CODES:
        return outcome.CALLER_ERROR
    if code in _TIMEOUT_CODES:
        return outcome.TIMEOUT
    if code == _URL_ELICITATION_REQUIRED:
        return outcome.INTERIM
    return outcome.EXCEPTION


def code_of(error: BaseException) -> int | None:
    """The JSON-RPC code of an `MCPError` (2.x) or `McpError` (1.x); None for others."""
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, int) and _is_framework_class(type(error)) else None


def note(call: Call, error: BaseException) -> None:
    """Say on `call` what `error`, raised below the tool's handler, means."""
    kind = type(error).__name__
    if _arguments_rejected(error):
        call.known = True
        call.note(outcome.CALLER_ERROR, outcome.error_type(error.__cause__ or error))
        return
    if _raised_by_framework(error):
        if kind in _NOT_FOUND:
            call.known = False
            call.note(outcome.CALLER_ERROR, outcome.error_type(error))
            return
        if kind in _REFUSALS:
            call.note(outcome.CALLER_ERROR, outcome.error_type(error))
            return
        if _is_wrapper(error) and error.__cause__ is not None:
            note(call, error.__cause__)
            return
        # A time limit of fastmcp's own: MCPError raised `from None` while handling TimeoutError.
        if error.__context__ is not None and outcome.is_timeout(error.__context__):
            call.note(outcome.TIMEOUT, outcome.error_type(error.__context__))
            return
    code = code_of(error)
    if code is not None:
        call.note(of_code(code), str(code))
    elif _is_wrapper(error):
        call.note(outcome.TOOL_ERROR, outcome.error_type(error))
    else:
        call.note_exception(error)


def _arguments_rejected(error: BaseException) -> bool:
    cause = error.__cause__
    if type(cause).__name__ != "ValidationError" or not _raised_by_framework(error):
        return False
    if type(error).__name__ == "ValidationError":  # fastmcp's own says nothing else
        return True
    names = [name for module, name in _frames(cause) if not module.startswith("pydantic")]
    return bool(names) and names[-1] in _ARGUMENT_VALIDATION


def _is_wrapper(error: BaseException) -> bool:
    """Whether `error` is a ToolError of the SDK or of fastmcp, or a subclass of one."""
    return any(
        cls.__name__ == "ToolError" and _is_framework_class(cls) for cls in type(error).__mro__
    )


def _is_framework_class(cls: type) -> bool:
    return any(base.__module__.startswith(_FRAMEWORKS) for base in cls.__mro__)


def _raised_by_framework(error: BaseException) -> bool:
    frames = _frames(error)
    return bool(frames) and frames[-1][0].startswith(_FRAMEWORKS)


def _frames(error: BaseException | None) -> list[tuple[str, str]]:
    """(module, function) of each frame of the traceback, outermost first."""
    found = []
    traceback: TracebackType | None = error.__traceback__ if error is not None else None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        found.append((str(traceback.tb_frame.f_globals.get("__name__", "")), code.co_name))
        traceback = traceback.tb_next
    return found
