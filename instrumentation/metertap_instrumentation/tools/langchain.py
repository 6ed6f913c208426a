"""LangChain: every run of a tool, by a program, an agent, or a LangGraph node.

`invoke`, `ainvoke`, `batch` and the agents' loops all call `BaseTool.run` or `BaseTool.arun`; a
tool without an async side is run by `run` in a thread. Callbacks see less: no cancelled calls. Two
functions of the module turn errors into answers, if a tool wants that (`handle_tool_error`,
`handle_validation_error`). The answer may be a plain string, so these functions are watched for the
error. Errors of the arguments are the caller's; those of data that a tool itself reads are not: the
place in `run` that raised distinguishes them. What LangGraph lets bubble up through a tool
(interrupts, commands to a parent graph) is no failure.

A subclass may have its own `run`, and a tool may pass its call on to another one of its name, as
wrappers do that ask a human first. Then the innermost counts, once for each attempt: a call of the
same tool without a tool call of its own. An override that never reaches `BaseTool` counts itself.

Not seen: a failure in a `Command` that a tool returns; the use of a generator that a tool returns;
arguments that do not fit a tool without a pydantic schema (they count as the tool's exception); a
subclass that overrides `invoke` without calling `run`.
"""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Iterable
from typing import Any

from metertap.measuring.calls import INSTANCE, OWNER, Frame, give_up
from metertap.measuring.frameworks import Handlers, begins, coroutine_method, plain_method
from metertap.measuring.in_threads import timed_in_thread
from metertap.measuring.slots import NamedSlot
from metertap.measuring.wrappers import coroutine_wrapper, plain_wrapper
from metertap.outcomes import CALLER_ERROR, INTERIM, TOOL_ERROR, Ending, error_type
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import stand_in
from metertap.weight.definitions import Definition, of_function
from metertap.weight.results import of_content, of_value
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

SOURCE = "langchain"
_PLACE = "langchain"
_MODULE = "langchain_core.tools.base"
_TELLING = frozenset({"ToolMessage", "list"})
_MOST_MESSAGES = 100
"""The most items of a list that are looked at: a list of more is data and no list of messages."""
_BUBBLES = frozenset({"GraphBubbleUp", "GraphInterrupt"})  # LangGraph 0.2 has only the latter


class Tools(Handlers):
    """Names and outcomes of the runs of a LangChain tool."""

    source = SOURCE

    def name_of(self, instance: Any, _args: Any, _kwargs: Any) -> str:
        """Return the tool's name, which the program chose."""
        name: str = instance.name
        return name

    def size_of(self, result: Any) -> int:
        return size_of(result)

    def tool_of(self, instance: Any, _args: Any, _kwargs: Any) -> Any:
        return instance

    def definitions(self, instance: Any, _args: Any, _kwargs: Any) -> Iterable[tuple[str, Any]]:
        return [(instance.name, weakref.ref(instance))]  # the program's object may be large

    def define(self, tool: Any) -> Definition | None:
        found = tool()
        if found is None:  # the program has dropped it
            return None
        convert = importlib.import_module("langchain_core.utils.function_calling")
        told = convert.convert_to_openai_function(found)
        return of_function(told["name"], told.get("description"), told.get("parameters"))

    def inside(self, outer: Frame, instance: Any, name: str, kwargs: Any) -> None:
        """Give up the call around this one if both are the same run."""
        if hands_on(outer, instance, name, kwargs):
            give_up(outer)

    def returned(self, result: Any) -> Ending | None:
        """Return the ending by a result, which may be a message of failure, or a list with one."""
        if type(result).__name__ in _TELLING:
            messages = result[:_MOST_MESSAGES] if isinstance(result, list) else [result]
            if any(map(says_error, messages)):
                return Ending(TOOL_ERROR, TOOL_ERROR)
        return None

    def raising(self, error: BaseException) -> Ending:
        """Return the ending by an error: LangGraph's signals are no failures."""
        if bubbles_up(error):
            return Ending(INTERIM)
        if rejects_arguments(error):
            return Ending(CALLER_ERROR, error_type(error))
        return Ending.by(error)


class _OverrideSlot(NamedSlot):
    __slots__ = ()


class Overrides(Tools):
    """Runs by a subclass's own `run`, given up when they reach that of the base class."""

    slot_class = _OverrideSlot


def size_of(result: Any) -> int:
    """Return the size of a result: a message has a text, or a list of blocks."""
    if type(result).__name__ == "ToolMessage":
        content = result.__dict__["content"]
        return of_content(content) if type(content) is list else of_value(content)
    return of_value(result)


def hands_on(outer: Frame, instance: Any, name: str, kwargs: Any) -> bool:
    """Return whether the call of `outer` goes on in `instance`, so that both are one run."""
    owner = outer[OWNER]
    if owner.counted_by != SOURCE or owner.name != name:
        return False
    if outer[INSTANCE] == id(instance):
        return type(owner) is _OverrideSlot  # otherwise it is a recursion
    return kwargs.get("tool_call_id") is None  # a model's tool call is a call of its own


def handled(error: BaseException) -> Ending:
    """Return the ending of a call whose error became its answer."""
    ended = CALLER_ERROR if rejects_arguments(error) else TOOL_ERROR
    return Ending(ended, error_type(error))


def says_error(message: Any) -> bool:
    """Return whether an answer is a message in which the tool says that it failed."""
    # By name, since the class exists only once the library is imported.
    return type(message).__name__ == "ToolMessage" and getattr(message, "status", None) == "error"


def bubbles_up(error: BaseException) -> bool:
    """Return whether `error` is one of LangGraph's signals to the graph around the tool."""
    return any(cls.__name__ in _BUBBLES for cls in type(error).__mro__)


def rejects_arguments(error: BaseException) -> bool:
    """Return whether `error` comes from reading the arguments, before the tool's code ran."""
    if not any(cls.__name__ in {"ValueError", "ToolException"} for cls in type(error).__mro__):
        return False  # pydantic's are ValueErrors
    module = vars(sys.modules.get(_MODULE, sys))
    traceback, has_run = error.__traceback__, False
    while traceback is not None:
        frame = traceback.tb_frame
        function = frame.f_code.co_name
        if function in {"run", "arun"} and frame.f_globals is module:
            has_run = True
        elif str(frame.f_globals.get("__name__", "")).startswith("metertap"):
            pass  # on Python 3.10 our frames stay
        # Before it may be functions by which another instrumentation has wrapped it.
        elif has_run or function in {"run", "arun", "_to_args_and_kwargs"}:
            return function == "_to_args_and_kwargs"
        traceback = traceback.tb_next
    return False


_tools = Tools()
_overrides = Overrides()


def _error_of(*args: Any, **kwargs: Any) -> Any:
    """Return the error of `_handle_tool_error(error, flag=…)`, or of the other one."""
    _tools.handler_ended()
    return args[0] if args else kwargs["e"]


def _ends(*_args: Any, **_kwargs: Any) -> None:
    _tools.handler_ended()


handle_error = around(_PLACE, _error_of, lambda error, _answer: _tools.note(handled(error)))
"""Notes the error that becomes an answer."""
read_arguments = around(
    _PLACE,
    lambda *_args, **_kwargs: _tools.in_progress(),
    lambda frame, _read: begins(frame),
    lambda frame, _error: begins(frame),
)
"""Notes that the handler begins after `BaseTool._to_args_and_kwargs(…)`."""
after_handler = around(_PLACE, _ends)
"""Notes that the handler has ended: `run` calls this first when it has returned or raised."""


class _Tools(SubclassesPatchSet):
    """The targets of the patches: `BaseTool`, subclasses with their own `run`, error handlers."""

    def __init__(self) -> None:
        run, arun = plain_wrapper(_overrides), coroutine_wrapper(_overrides)
        super().__init__(_MODULE, "BaseTool", {"run": run, "arun": arun})
        self.targets = (
            plain_method("BaseTool.run", _tools),
            coroutine_method("BaseTool.arun", _tools),
            stand_in("_handle_tool_error", handle_error),
            stand_in("_handle_validation_error", handle_error),
            stand_in("BaseTool._to_args_and_kwargs", read_arguments),
            stand_in("_format_output", after_handler),
            # By which `_arun` runs a `_run` in a thread: `run_in_executor(config, function, …)`.
            stand_in("run_in_executor", timed_in_thread(_tools, 1)),
        )


_RAISING = [
    stand_in(f"{manager}.on_tool_error", after_handler)
    for manager in ("CallbackManagerForToolRun", "AsyncCallbackManagerForToolRun")
]
INSTRUMENTATION = Instrumentation(
    LIBRARIES["tools.langchain"], [_Tools(), PatchSet("langchain_core.callbacks.manager", _RAISING)]
)
