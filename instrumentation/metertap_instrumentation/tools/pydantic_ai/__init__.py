"""pydantic-ai: every call of a tool that an agent makes, whatever toolset has the tool.

All ways to run an agent end in its `ToolManager`: `run`, `run_sync`, `run_stream`, `iter`, realtime
sessions; calls one after the other and at the same time. There a call has the name that the model
knows, after toolsets that prefix or rename, and toolsets in toolsets are still one call. It is
checked by `validate_tool_call` and run by `execute_tool_call`; before 1.63 both are `handle_call`.

What the model is told (to try again, or of a failure) is the tool's failure if it came out of the
tool, and the caller's error if the call never got that far. Deferrals and approvals that a tool
asks for are no failures; when such a call is approved, the tool runs again, which is a call too.

Not seen: output functions, which make the answer of a run and may be called for each part of it
that arrives; tools that the provider of the model runs, or the program itself; those whose
definition asks for an approval, until they are approved; a toolset that is called without an agent.
"""

from __future__ import annotations

from collections.abc import Sequence

from metertap.measuring.frameworks import HandlerTime, coroutine_method
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import stand_in
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version
from metertap_instrumentation.tools.pydantic_ai.managers import Calls, WholeCalls, validate


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    sets = []
    if version < (1, 63):
        whole = WholeCalls()
        targets = [coroutine_method("ToolManager.handle_call", whole)]
        # Which all tools of an agent are in: called when the arguments have been validated.
        called = coroutine_method("CombinedToolset.call_tool", HandlerTime(whole))
        sets = [PatchSet("pydantic_ai.toolsets.combined", [called])]
    else:
        made = Calls()
        targets = [
            stand_in("ToolManager.validate_tool_call", validate),
            coroutine_method("ToolManager.execute_tool_call", made),
            # Without the hooks of the agent's capabilities, tracing among them.
            coroutine_method("ToolManager._raw_execute", HandlerTime(made), optional=True),
        ]
    module = "pydantic_ai._tool_manager" if version < (1, 78) else "pydantic_ai.tool_manager"
    return [PatchSet(module, targets), *sets]


INSTRUMENTATION = Instrumentation(LIBRARIES["tools.pydantic_ai"], _patch_sets)
