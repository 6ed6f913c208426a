"""The methods of `ToolManager` that calls pass: the tool's name, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from metertap import catalogue, faults
from metertap.measuring import calls
from metertap.measuring.frameworks import Handlers
from metertap.outcomes import Ending
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled, recorder
from metertap.weight.definitions import Definition, of_function
from metertap.weight.results import of_value
from metertap_instrumentation.tools.pydantic_ai import endings

SOURCE = "pydantic-ai"
_PLACE = f"tool {SOURCE}"


class _OfManager(Handlers):
    """Calls by a `ToolManager`, which knows all tools of its agent."""

    source = SOURCE

    def size_of(self, result: Any) -> int:
        """Return the size of a result; a `ToolReturn` has more than the model gets."""
        if type(result).__name__ == "ToolReturn":
            result = result.return_value
        return of_value(result)

    def definitions(self, instance: Any, _args: Any, _kwargs: Any) -> Iterable[tuple[str, Any]]:
        for name, tool in (instance.tools or {}).items():
            told = tool.tool_def
            if told.kind != "output":
                yield name, (name, told.description, told.parameters_json_schema)

    def define(self, tool: Any) -> Definition:
        return of_function(*tool)


class Calls(_OfManager):
    """Calls of `execute_tool_call(validated)`, without those that were refused."""

    def name_of(self, _instance: Any, args: Any, kwargs: Any) -> str | None:
        """Return the tool's name as the model knows it."""
        validated = args[0] if args else kwargs["validated"]
        if not validated.args_valid or validated.tool.tool_def.kind == "output":
            return None
        name: str = validated.call.tool_name
        return name

    def raising(self, error: BaseException) -> Ending:
        """Return the ending by the exception behind `error`."""
        return endings.of_run(error)


class WholeCalls(_OfManager):
    """Calls of `handle_call(call)`, which in old versions refuses and runs."""

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """Return the tool's name, if it exists."""
        return label(instance.tools or {}, args[0] if args else kwargs["call"])

    def raising(self, error: BaseException) -> Ending:
        """Return the ending by the exception behind `error`, and by whether the tool raised it."""
        return endings.of_whole(error)


def name_of_call(_toolset: Any, args: Any, kwargs: Any) -> str | None:
    """Return the name of the tool, or output tool, that `toolset.call_tool(name, …)` runs."""
    name: str = args[0] if args else kwargs["name"]
    return name


_VALIDATE = """
{kind} call({parameters}):
    if not _live:
        return {call}
    _started = _clock()
    try:
        _validated = {call}
    except BaseException as _error:
        with _guarded(_place):
            _hide(_error)
            _refused({first}, {args}, {kwargs}, _error, _started)
        raise
    try:
        if not _validated.args_valid:
            _refused({first}, {args}, {kwargs}, _validated.validation_error, _started)
    except Exception as _fault:
        _faults.fault(_place, _fault)
    return _validated
"""


def validate(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count calls that `validate_tool_call(call)` refuses, which end there."""
    return shaped(
        method,
        _VALIDATE,
        clock=calls.clock,
        faults=faults,
        guarded=faults.guarded,
        hide=hide_frame,
        live=live,
        place=_PLACE,
        refused=_refused,
    )


def label(tools: Any, call: Any) -> str | None:
    """Return the name of the tool of `call`, `_OTHER` if `tools` lacks it; None for output."""
    name: str = call.tool_name
    tool = tools.get(name)
    if tool is None:
        return catalogue.OTHER
    return None if tool.tool_def.kind == "output" else name


def _refused(manager: Any, args: Any, kwargs: Any, error: BaseException, started: float) -> None:
    name = label(manager.tools or {}, args[0] if args else kwargs["call"])
    if name is not None and is_enabled():
        series = recorder().tool_by_hand(name, SOURCE)
        milliseconds = (calls.clock() - started) * 1000.0
        recorder().record_tool(series, *endings.of_refusal(error), milliseconds)
