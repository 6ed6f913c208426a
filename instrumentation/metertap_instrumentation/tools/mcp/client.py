"""MCP clients, both SDK versions: `ClientSession.send_request`, once for each request sent.

`mcp.Client` and `fastmcp.Client` end there too. A client and a server in one process both record,
each with its own instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.measuring import calls
from metertap.patching.patch_set import Live, PatchSet, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.requests import KnownNames

_recorder = recorder()

_tools = KnownNames()
_prompts = KnownNames()


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped."""
    return [PatchSet("mcp.client.session", [stand_in("ClientSession.send_request", send_request)])]


def send_request(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Measure one request: `send_request(request, …)`."""

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not live:
            return await method(self, *args, **kwargs)
        started = calls.clock()
        try:
            result = await method(self, *args, **kwargs)
        except BaseException as error:
            with faults.guarded("mcp.client"):
                hide_frame(error)
                code = errors.code_of(error)
                error_type = outcomes.error_type(error) if code is None else str(code)
                _record(self, args, kwargs, started, error_type, code)
            raise
        try:
            _record(self, args, kwargs, started, None, None, result)
        except Exception as fault:
            faults.fault("mcp.client", fault)
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
    seconds = calls.clock() - started
    request = vars(args[0] if args else kwargs["request"])
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
        if method == requests.TOOLS_CALL:
            label = _tools.label(name)
        elif method == requests.PROMPTS_GET:
            label = _prompts.label(name)
    version = getattr(session, "protocol_version", None)
    key = (method, label, error_type, code, version)
    operation = _recorder.find_operation(catalogue.CLIENT_DURATION, key)
    if operation is None:
        attributes = _attributes(method, label, error_type, code, version)
        operation = _recorder.operation(key, catalogue.CLIENT_DURATION, attributes)
    operation.record(seconds)


def _learn(method: str, name: str | None, result: Any) -> None:
    """`result` answers for the names in it, or for the one that was asked for."""
    if method == requests.TOOLS_CALL:
        if name is not None:
            _tools.learn(name)
    elif method == requests.TOOLS_LIST:
        for tool in getattr(result, "tools", ()):
            _tools.learn(tool.name)
    elif method == requests.PROMPTS_GET and name is not None:
        _prompts.learn(name)


def _attributes(
    method: str, label: str | None, error_type: str | None, code: int | None, version: object
) -> dict[str, str]:
    attributes = {catalogue.MCP_METHOD: method}
    if label is not None:
        if method == requests.TOOLS_CALL:
            attributes[catalogue.TOOL_NAME] = label
            attributes[catalogue.OPERATION_NAME] = catalogue.EXECUTE_TOOL
        else:
            attributes[catalogue.PROMPT_NAME] = label
    if error_type is not None:
        attributes[catalogue.ERROR_TYPE] = error_type
    if code is not None:
        attributes[catalogue.RPC_STATUS] = str(code)
    if isinstance(version, str):
        attributes[catalogue.MCP_PROTOCOL_VERSION] = version
    return attributes
