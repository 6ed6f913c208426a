"""LangChain: every run of a tool, whoever asks for it: a program, an agent, a LangGraph node.

`invoke`, `ainvoke`, `batch` and the agents' loops all end in `BaseTool.run` or `BaseTool.arun`; a
tool that has no async side is run by `run` in a thread. Callbacks are told of less: of no call that
was cancelled. Two functions of the module turn errors into answers where a tool says so
(`handle_tool_error`, `handle_validation_error`): what they return may be a plain string, so they
are asked what was behind it. Errors of the arguments are the caller's, those of data that a tool
itself reads are not: where in `run` they came from tells them apart. Whatever LangGraph lets bubble
up through a tool (interrupts, commands to a parent graph) is no failure.

A subclass may have a `run` of its own, and a tool may hand its call on to another of its name, as
wrappers that ask a human first do. Then the innermost counts, once for each attempt: a call of the
same tool that has no tool call of its own. An override that never reaches `BaseTool` counts itself.

Not seen: how a `Command` that a tool returns tells of a failure; what is done with a generator that
a tool returns; arguments that do not fit a tool without a pydantic schema (they are an exception of
the tool's); a subclass that overrides `invoke` without calling `run`.
"""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Iterable
from typing import Any

from metertap.measuring.calls import INSTANCE, OWNER, Frame, give_up
from metertap.measuring.frameworks import Handlers, begins, coroutine_method, plain_method
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
_BUBBLES = frozenset(
    {"GraphBubbleUp", "GraphInterrupt"}
)  # the latter is all that LangGraph 0.2 has


class Tools(Handlers):
    """Names and outcomes of the runs of a LangChain tool."""

    source = SOURCE

    def name_of(self, instance: Any, _args: Any, _kwargs: Any) -> str:
        """Name the tool: the program chose its name."""
        name: str = instance.name
        return name

    def size_of(self, result: Any) -> int:
        return size_of(result)

    def tool_of(self, instance: Any, _args: Any, _kwargs: Any) -> Any:
        return instance

    def definitions(self, instance: Any, _args: Any, _kwargs: Any) -> Iterable[tuple[str, Any]]:
        return [(instance.name, weakref.ref(instance))]  # the program's object, which may be large

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
        """Judge a result: a tool may return a message that says it failed, or a list with one."""
        if type(result).__name__ in _TELLING:
            messages = result if isinstance(result, list) else [result]
            if any(map(says_error, messages)):
                return Ending(TOOL_ERROR, TOOL_ERROR)
        return None

    def raising(self, error: BaseException) -> Ending:
        """Judge an error: LangGraph's signals are no failures, bad arguments are the caller's."""
        if bubbles_up(error):
            return Ending(INTERIM)
        if rejects_arguments(error):
            return Ending(CALLER_ERROR, error_type(error))
        return Ending.by(error)


class _OverrideSlot(NamedSlot):
    __slots__ = ()


class Overrides(Tools):
    """Runs by a `run` of a subclass, given up when they reach that of the base class."""

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
        return type(owner) is _OverrideSlot  # otherwise it calls itself
    return kwargs.get("tool_call_id") is None  # what a model asked for is a call of its own


def handled(error: BaseException) -> Ending:
    """Return the ending of a call whose error became its answer."""
    ended = CALLER_ERROR if rejects_arguments(error) else TOOL_ERROR
    return Ending(ended, error_type(error))


def says_error(message: Any) -> bool:
    """Return whether an answer is a message by which the tool says that it failed."""
    # By its name: the class is not there before the library is.
    return type(message).__name__ == "ToolMessage" and getattr(message, "status", None) == "error"


def bubbles_up(error: BaseException) -> bool:
    """Return whether `error` is one of LangGraph's signals to the graph around the tool."""
    return any(cls.__name__ in _BUBBLES for cls in type(error).__mro__)


def rejects_arguments(error: BaseException) -> bool:
    """Return whether `error` was raised in reading the arguments, before the tool's code ran."""
    if not any(cls.__name__ in {"ValueError", "ToolException"} for cls in type(error).__mro__):
        return False  # pydantic's are ValueErrors
    module = vars(sys.modules.get(_MODULE, sys))
    traceback = error.__traceback__
    while traceback is not None:
        function = traceback.tb_frame.f_code.co_name
        if traceback.tb_frame.f_globals is not module or function not in {"run", "arun"}:
            return function == "_to_args_and_kwargs"
        traceback = traceback.tb_next
    return False


_tools = Tools()
_overrides = Overrides()


def _error_of(*args: Any, **kwargs: Any) -> Any:
    """Return the error that `_handle_tool_error(error, flag=…)` or its like makes an answer of."""
    _tools.handler_ended()
    return args[0] if args else kwargs["e"]


def _ends(*_args: Any, **_kwargs: Any) -> None:
    _tools.handler_ended()


handle_error = around(_PLACE, _error_of, lambda error, _answer: _tools.note(handled(error)))
"""Note the error that was made an answer of."""
read_arguments = around(
    _PLACE,
    lambda *_args, **_kwargs: _tools.in_progress(),
    lambda frame, _read: begins(frame),
    lambda frame, _error: begins(frame),
)
"""Note that the handler begins after `BaseTool._to_args_and_kwargs(…)`."""
after_handler = around(_PLACE, _ends)
"""Note that the handler has ended: `run` calls this first when it returned or raised."""


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
        )


_RAISING = [
    stand_in(f"{manager}.on_tool_error", after_handler)
    for manager in ("CallbackManagerForToolRun", "AsyncCallbackManagerForToolRun")
]
INSTRUMENTATION = Instrumentation(
    LIBRARIES["tools.langchain"], [_Tools(), PatchSet("langchain_core.callbacks.manager", _RAISING)]
)
