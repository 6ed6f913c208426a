"""The OpenAI Agents SDK's own kinds of tools: computer, shell, patches, custom tools.

Each kind has a class whose `execute` does all there is to a call: approval, the program's hooks,
the tool. A call that waits for an approval, or was denied one, did not happen. The time of hooks
is in that of the call: the tool itself is called in the middle of a function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import faults, outcomes
from metertap.measuring.calls import NOTE, SERIES, Frame
from metertap.measuring.frameworks import Handlers, coroutine_wrapper
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap.state import recorder
from metertap_instrumentation.tools.openai_agents.functions import SOURCE, handlers, modules_of

_KINDS = {
    "ComputerAction": "computer_tool",
    "LocalShellAction": "local_shell_tool",
    "ShellAction": "shell_tool",
    "CustomToolAction": "custom_tool",
    "ApplyPatchAction": "apply_patch_tool",
}
"""The classes, and where their calls have the tool."""
_DID_NOT_HAPPEN = Ending(outcomes.INTERIM)


class Native(Handlers):
    """How a tool of one kind is named, and how its call ended."""

    source = SOURCE

    def __init__(self, tool: str) -> None:
        super().__init__()
        self._tool = tool

    def name_of(self, _instance: Any, _args: Any, kwargs: Any) -> str | None:
        """`execute(call=…)`, `execute(action=…)`."""
        name: str = getattr(kwargs.get("call") or kwargs["action"], self._tool).name
        return name

    def ended(self, frame: Frame, result: Any) -> None:
        if frame[NOTE] is _DID_NOT_HAPPEN or type(result).__name__ == "ToolApprovalItem":
            with faults.guarded("tool openai-agents"):
                series, frame[SERIES] = frame[SERIES], None
                recorder().never_ended(series)
            return
        super().ended(frame, result)

    def returned(self, result: Any) -> Ending | None:
        """A shell or an editor may say itself that it failed."""
        raw = result.raw_item
        if isinstance(raw, dict) and raw.get("status") == "failed":
            return Ending(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR)
        return None

    def raising(self, error: BaseException) -> Ending:
        """What the SDK itself finds wrong, it finds in the model's request."""
        if type(error).__name__ == "ModelBehaviorError":
            passed = modules_of(error)
            if passed and passed[-1].startswith("agents."):
                return Ending(outcomes.CALLER_ERROR, "ModelBehaviorError")
        return Ending.by(error)

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        if frame is not None:
            frame[NOTE] = None  # an error that became a text, and was raised after all
        super().raised(frame, error)


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped. Custom tools are not in all versions."""
    targets = [
        Target(f"{kind}.execute", coroutine_wrapper(Native(tool)), optional=True)
        for kind, tool in _KINDS.items()
    ]
    targets += [
        Target("format_shell_error", handle_failure),
        Target("resolve_approval_rejection_message", deny),
    ]
    return [PatchSet("agents.run_internal.tool_actions", targets)]


def handle_failure(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`format_shell_error(error)`: the text that the model gets."""
    with faults.guarded("tool openai-agents"):
        error = args[0] if args else kwargs["error"]
        handlers.note(Ending(outcomes.TOOL_ERROR, outcomes.error_type(error)))
    return wrapped(*args, **kwargs)


async def deny(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`resolve_approval_rejection_message(…)`: the call was denied an approval."""
    with faults.guarded("tool openai-agents"):
        handlers.note(_DID_NOT_HAPPEN)
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
