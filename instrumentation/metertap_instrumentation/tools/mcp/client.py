"""MCP clients, both SDK versions: `ClientSession.send_request`, once for each request sent.

`mcp.Client` and `fastmcp.Client` end there too. A client and a server in one process both record,
each with its own instrument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import calls, catalogue, guard, outcome
from metertap._process import recorder
from metertap.patching import PatchSet, Target
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.requests import KnownNames

_tools = KnownNames()
_prompts = KnownNames()


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped."""
    return [PatchSet("mcp.client.session", [Target("ClientSession.send_request", send_request)])]


async def send_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Measure one request: `send_request(request, …)`."""
    started = calls.clock()
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("mcp.client"):
            calls.hide_frame(error)
            code = errors.code_of(error)
            error_type = outcome.error_type(error) if code is None else str(code)
            _record(instance, args, kwargs, started, error_type, code)
        raise
    with guard.guarded("mcp.client"):
        failed = _is_error(result)
        _learn(args, kwargs, result, failed=failed)
        _record(instance, args, kwargs, started, outcome.TOOL_ERROR if failed else None, None)
    return result


def _is_error(result: Any) -> bool:
    # 2.x first: there the old name, where fastmcp adds it, warns of its age.
    failed = getattr(result, "is_error", None)
    return bool(getattr(result, "isError", False) if failed is None else failed)


def _request(args: Any, kwargs: Any) -> tuple[str, str | None]:
    """Method, and the name of the tool or prompt, if the request has one."""
    request = args[0] if args else kwargs["request"]
    request = getattr(request, "root", request)  # 1.x wraps it
    name = getattr(getattr(request, "params", None), "name", None)
    return request.method, name if isinstance(name, str) else None


def _learn(args: Any, kwargs: Any, result: Any, *, failed: bool) -> None:
    method, name = _request(args, kwargs)
    if method == requests.TOOLS_LIST:
        for tool in getattr(result, "tools", ()):
            _tools.learn(tool.name)
    elif name is None or failed:
        return
    elif method == requests.TOOLS_CALL:
        _tools.learn(name)
    elif method == requests.PROMPTS_GET:
        _prompts.learn(name)


def _record(
    session: Any, args: Any, kwargs: Any, started: float, error_type: str | None, code: int | None
) -> None:
    seconds = calls.clock() - started
    method, name = _request(args, kwargs)
    pairs = [(catalogue.MCP_METHOD, method)]
    if method == requests.TOOLS_CALL and name is not None:
        # The caller may be a model that makes names up: those that were answered for are labels.
        pairs.append((catalogue.TOOL_NAME, _tools.label(name)))
        pairs.append((catalogue.OPERATION_NAME, catalogue.EXECUTE_TOOL))
    elif method == requests.PROMPTS_GET and name is not None:
        pairs.append((catalogue.PROMPT_NAME, _prompts.label(name)))
    if error_type is not None:
        pairs.append((catalogue.ERROR_TYPE, error_type))
    if code is not None:
        pairs.append((catalogue.RPC_STATUS, str(code)))
    version = getattr(session, "protocol_version", None)
    if isinstance(version, str):
        pairs.append((catalogue.MCP_PROTOCOL_VERSION, version))
    recorder().record_operation(catalogue.CLIENT_DURATION, seconds, tuple(pairs))
