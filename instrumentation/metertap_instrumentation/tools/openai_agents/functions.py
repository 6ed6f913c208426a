"""Function tools of the OpenAI Agents SDK, all of which one function runs.

The layers inside it note what its result does not tell: the exception that became a text, a time
limit that ran out, a nested agent that was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from traceback import walk_tb
from types import FrameType
from typing import Any

from metertap import outcomes
from metertap.measuring import calls
from metertap.measuring.calls import INSTANCE, OWNER, Frame
from metertap.measuring.frameworks import Handlers, begins
from metertap.measuring.wrappers import coroutine_wrapper
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Target, stand_in
from metertap.weight.definitions import Definition, of_function
from metertap.weight.results import of_value

SOURCE = "openai-agents"
_PLACE = "tool openai-agents"

_READ = "read"
"""The mark of a call whose arguments were read by the schema of a function."""
_BEFORE_THE_TOOL = ("agents.", "asyncio.", "metertap", "wrapt.")
"""Modules that run before the tool's own code."""


class Functions(Handlers):
    """Names and outcomes of calls of function tools."""

    source = SOURCE

    def name_of(self, _instance: Any, args: Any, kwargs: Any) -> str | None:
        """Name the tool of `invoke(function_tool=…, context=…, arguments=…)`."""
        name: str = (args[0] if args else kwargs["function_tool"]).name
        return name

    def size_of(self, result: Any) -> int:
        """Return the size of an output, which newer versions return with metadata."""
        if type(result).__name__ == "_FunctionToolInvocationResult":
            result = result.output
        if type(result).__name__ == "ToolOutputText":
            return of_value(result.text)
        return of_value(result)

    def tool_of(self, _instance: Any, args: Any, kwargs: Any) -> Any:
        return args[0] if args else kwargs["function_tool"]

    def definitions(self, _instance: Any, args: Any, kwargs: Any) -> Iterable[tuple[str, Any]]:
        tool = args[0] if args else kwargs["function_tool"]
        return [(tool.name, (tool.name, tool.description, tool.params_json_schema))]

    def define(self, tool: Any) -> Definition:
        return of_function(*tool)

    def raising(self, error: BaseException) -> Ending:
        return refusal(error) or Ending.by(error)

    def say(self, name: object, ending: Ending) -> None:
        """Note how the call in progress ends, if it is of the tool `name`."""
        frame = calls.in_progress()
        if frame is not None and frame[OWNER].name == name:
            self.note(ending)


handlers = Functions()


def patch_sets(runner: str) -> Sequence[PatchSet]:
    """Return the patches; `runner` names the function by which the runner calls tools."""
    wrapper = coroutine_wrapper(handlers)
    return [
        PatchSet("agents.run_internal.tool_execution", [Target(runner, wrapper)]),
        PatchSet("agents.realtime.session", [Target("invoke_function_tool", wrapper)]),
        PatchSet(
            "agents.tool",
            [
                stand_in(
                    "maybe_invoke_function_tool_failure_error_function",
                    around(_PLACE, _fails, _failed),
                ),
                stand_in("_validate_function_tool_output", around(_PLACE, _ends), optional=True),
            ],
        ),
        PatchSet(
            "agents.function_schema",
            [stand_in("FuncSchema.to_call_args", around(_PLACE, _in_progress, _begins))],
        ),
        PatchSet(
            "agents.exceptions", [stand_in("ToolTimeoutError.__init__", around(_PLACE, _timed_out))]
        ),
        PatchSet(
            "agents.agent", [stand_in("record_agent_tool_run_result", around(_PLACE, _interrupted))]
        ),
        # The SDK logs before a tool runs, and after.
        PatchSet("agents.logger", [Target("logger.handle", handlers.untimed, apart=True)]),
    ]


def _in_progress(schema: Any, *_args: Any) -> Frame | None:
    """Return the call whose arguments `schema.to_call_args(data)` reads next, or None.

    A tool's code may run another tool by hand, or an agent whose tools are read for an approval:
    that is part of its call, which is marked until the other one's end (see `_is_of_another`). A
    tool that was renamed is taken for another one, and its call begins where it is called.
    """
    frame = handlers.in_progress()
    if frame is None:
        return None
    if frame[OWNER].name != schema.name:
        frame[INSTANCE] = (frame[INSTANCE],)
        return None
    return frame


def _is_of_another(frame: Frame | None) -> bool:
    """Return whether a tool ends that the call's code has run by hand, and remove its mark."""
    if frame is None or type(frame[INSTANCE]) is not tuple:
        return False
    (frame[INSTANCE],) = frame[INSTANCE]
    return True


def _begins(frame: Frame, _arguments: Any) -> None:
    frame[INSTANCE] = _READ
    begins(frame)


def is_of_a_function() -> bool:
    """Return whether the call in progress is of a function of the program's. Never raises."""
    frame = handlers.in_progress()
    found = None if frame is None else frame[INSTANCE]
    while type(found) is tuple:
        (found,) = found
    return found is _READ


def _ends(**_named: Any) -> None:
    """Note that the handler has ended: `_validate_function_tool_output(tool_name=…, …)`."""
    if not _is_of_another(handlers.in_progress()):
        handlers.handler_ended()


def _fails(**kwargs: Any) -> dict[str, Any]:
    """Note that the handler has ended: `maybe_invoke_…(function_tool=…, context=…, error=…)`."""
    frame = handlers.in_progress()
    if not _is_of_another(frame) and frame and frame[OWNER].name == kwargs["function_tool"].name:
        handlers.handler_ended()
    return kwargs


def _failed(asked: dict[str, Any], text: Any) -> None:
    """Note an error that became a text."""
    if text is not None:
        handlers.say(asked["function_tool"].name, handled(asked["error"]))


def _timed_out(_error: object, tool_name: str, *_rest: Any, **_named: Any) -> None:
    """Note that a tool ran into its own time limit: `ToolTimeoutError(tool_name=…, …)`."""
    frame = handlers.in_progress()
    if frame is not None and frame[OWNER].name == tool_name:
        handlers.handler_ended()
    handlers.say(tool_name, Ending(outcomes.TIMEOUT, "ToolTimeoutError"))


def _interrupted(*_args: Any, **_kwargs: Any) -> None:
    """Note that an agent which is a tool waits: `record_agent_tool_run_result(tool_call, …)`."""
    handlers.note(Ending(outcomes.INTERIM))


def handled(error: BaseException) -> Ending:
    """Return the ending of a call whose `error` became a text for the model."""
    return refusal(error) or Ending(outcomes.TOOL_ERROR, outcomes.error_type(error))


def refusal(error: BaseException) -> Ending | None:
    """Return the ending of a call whose arguments the SDK refused; None for another `error`.

    Its class is not enough: an agent that is a tool may raise it because of its own model.
    """
    named = type(error).__name__
    if named == "ModelBehaviorError":
        refused = all(
            module.startswith(_BEFORE_THE_TOOL) and not module.startswith("agents.run")
            for module in modules_of(error)
        )
    else:  # an MCP server's tool lacks a required argument
        refused = named == "UserError" and _raised_by(error) == "_validate_required_parameters"
    return Ending(outcomes.CALLER_ERROR, named) if refused else None


def modules_of(error: BaseException) -> list[str]:
    """List the modules that `error` passed; the last one raised it."""
    return [str(frame.f_globals.get("__name__", "")) for frame in _frames(error)]


def _raised_by(error: BaseException) -> str:
    return "".join(frame.f_code.co_name for frame in _frames(error)[-1:])


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in walk_tb(error.__traceback__)]
