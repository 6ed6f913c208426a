"""Tools of the OpenAI Agents SDK's own kinds (computer, shell, patches, custom), and unknown ones.

Each kind has a class whose `execute` does a whole call: approval, the program's hooks, the tool. A
call that waits for an approval, or was denied one, did not happen. The time of hooks is part of the
call's, since the tool itself is called in the middle of a function.

If a model calls a tool that the agent does not have, there is nothing to call and nothing to time.
Such calls are counted together: the model made their names up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import outcomes
from metertap.measuring import calls
from metertap.measuring.calls import NOTE, Frame
from metertap.measuring.frameworks import Handlers
from metertap.measuring.wrappers import coroutine_wrapper
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Target, stand_in
from metertap.state import is_enabled, recorder
from metertap_instrumentation.tools.openai_agents.functions import SOURCE, handlers, modules_of

_KINDS = {
    "ComputerAction": "computer_tool",
    "LocalShellAction": "local_shell_tool",
    "ShellAction": "shell_tool",
    "CustomToolAction": "custom_tool",
    "ApplyPatchAction": "apply_patch_tool",
}
"""The classes, and the argument of each that has the tool."""
_PLACE = "tool openai-agents"
_DID_NOT_HAPPEN = Ending(outcomes.INTERIM)


class Native(Handlers):
    """Names and outcomes of calls of one kind of tool."""

    source = SOURCE

    def __init__(self, tool: str) -> None:
        super().__init__()
        self._tool = tool

    def name_of(self, _instance: Any, _args: Any, kwargs: Any) -> str | None:
        """Name the tool of `execute(call=…)` or `execute(action=…)`."""
        name: str = getattr(kwargs.get("call") or kwargs["action"], self._tool).name
        return name

    def ended(self, frame: Frame, result: Any) -> None:
        if frame[NOTE] is _DID_NOT_HAPPEN or type(result).__name__ == "ToolApprovalItem":
            calls.give_up(frame)
        else:
            super().ended(frame, result)

    def returned(self, result: Any) -> Ending | None:
        """Return the ending by a result: a shell or an editor may say that it failed."""
        raw = result.raw_item
        if isinstance(raw, dict) and raw.get("status") == "failed":
            return Ending(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR)
        return None

    def raising(self, error: BaseException) -> Ending:
        """Return the ending by an error: the SDK's own errors are about the model's request."""
        if type(error).__name__ == "ModelBehaviorError":
            passed = modules_of(error)
            if passed and passed[-1].startswith("agents."):
                return Ending(outcomes.CALLER_ERROR, "ModelBehaviorError")
        return Ending.by(error)

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        if frame is not None:
            frame[NOTE] = None  # an error that became a text, but was raised after all
        super().raised(frame, error)


def patch_sets() -> Sequence[PatchSet]:
    """Return the patches; custom tools are not in all versions."""
    targets = [
        Target(f"{kind}.execute", coroutine_wrapper(Native(tool)), optional=True)
        for kind, tool in _KINDS.items()
    ]
    targets += [
        stand_in("format_shell_error", around(_PLACE, _failed)),
        stand_in("resolve_approval_rejection_message", around(_PLACE, _denied)),
    ]
    unknown = [
        stand_in(
            "process_model_response",
            around(_PLACE, lambda *_args, **_kwargs: True, raised=_not_found),
        ),
        stand_in(
            "_build_tool_not_found_output_items",
            around(_PLACE, _missing),
            optional=True,  # in some versions
        ),
    ]
    return [
        PatchSet("agents.run_internal.tool_actions", targets),
        PatchSet("agents.run_internal.turn_resolution", unknown),
    ]


def _failed(error: BaseException) -> None:
    """Note the error that `format_shell_error(error)` turns into a text."""
    handlers.note(Ending(outcomes.TOOL_ERROR, outcomes.error_type(error)))


def _denied(*_args: Any, **_kwargs: Any) -> None:
    """Note that a call was denied an approval: `resolve_approval_rejection_message(…)`."""
    handlers.note(_DID_NOT_HAPPEN)


def _not_found(_note: Any, error: BaseException) -> None:
    """Count a tool that `process_model_response(…)` does not find, which ends the run."""
    if type(error).__name__ == "ModelBehaviorError":
        _count(1, "ModelBehaviorError")


def _missing(*_args: Any, calls: Any, **_kwargs: Any) -> None:
    """Count tools that the model is told are missing: `_build_tool_not_found_output_items(…)`."""
    _count(len(calls), outcomes.TOOL_ERROR)


def _count(times: int, error_type: str) -> None:
    if is_enabled() and times:
        series = recorder().other_tool(SOURCE)
        for _ in range(times):
            # A duration of zero, since a call without one would be in no histogram.
            recorder().record_tool(series, outcomes.CALLER_ERROR, error_type, 0.0)
