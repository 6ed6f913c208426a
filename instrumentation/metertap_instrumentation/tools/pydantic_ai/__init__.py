"""pydantic-ai: every call of a tool by an agent, whatever toolset the tool is in.

All ways to run an agent use its `ToolManager`: `run`, `run_sync`, `run_stream`, `iter`, realtime
sessions; for calls in turn and at the same time. There a call has the name that the model knows,
after toolsets have prefixed or renamed it, and toolsets in toolsets make one call. It is checked by
`validate_tool_call` and run by `execute_tool_call`; before 1.63, `handle_call` does both.

What the model is told (to try again, or of a failure) is the tool's failure if it came out of the
tool, and the caller's error if the call never got that far. Deferrals and approvals that a tool
requests are no failures; after an approval the tool runs again, which is another call.

Not seen: output functions, which make the answer of a run and may be called for each part of it;
tools that the model's provider runs, or the program itself; tools whose definition requires an
approval, before it is given; a toolset that is called without an agent.
"""

from __future__ import annotations

from collections.abc import Sequence

from metertap.measuring.frameworks import HandlerTime, coroutine_method
from metertap.measuring.in_threads import timed_in_thread
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import stand_in
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version
from metertap_instrumentation.tools.pydantic_ai.managers import (
    Calls,
    WholeCalls,
    name_of_call,
    validate,
)


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    # How a tool's schema runs a function that is not async, by the name in its own module.
    in_thread = stand_in("run_in_executor", timed_in_thread(Calls()), optional=True)
    sets = [PatchSet("pydantic_ai._function_schema", [in_thread])]
    if version < (1, 63):
        whole = WholeCalls()
        targets = [coroutine_method("ToolManager.handle_call", whole)]
        # The toolset of all of an agent's tools, called when the arguments are validated.
        called = coroutine_method("CombinedToolset.call_tool", HandlerTime(whole, name_of_call))
        sets += [PatchSet("pydantic_ai.toolsets.combined", [called])]
    else:
        made = Calls()
        targets = [
            stand_in("ToolManager.validate_tool_call", validate),
            coroutine_method("ToolManager.execute_tool_call", made),
            # Without the hooks of the agent's capabilities, such as tracing.
            coroutine_method("ToolManager._raw_execute", HandlerTime(made), optional=True),
        ]
    module = "pydantic_ai._tool_manager" if version < (1, 78) else "pydantic_ai.tool_manager"
    return [PatchSet(module, targets), *sets]


INSTRUMENTATION = Instrumentation(LIBRARIES["tools.pydantic_ai"], _patch_sets)
