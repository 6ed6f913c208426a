"""OpenAI Agents SDK: every call of a tool that an agent's process runs.

Function tools (`@function_tool`, agents as tools, tools of MCP servers, those of the SDK's
extensions) all pass one function; it is wrapped by the name under which its two callers have it,
the runner and realtime sessions. Tools of the SDK's own kinds (computer, shell, patches, custom)
have a class each. A failure that the SDK turns into text for the model is a `tool_error`, arguments
that do not fit and tools that do not exist are a `caller_error`, a nested agent that waits for an
approval is `interim`.

Not seen: tools that run at the model's provider; `tool.on_invoke_tool(...)` called by the program;
in realtime sessions, tools that do not exist. A call that waits for an approval, was denied one, or
whose input a guardrail refused, did not happen. Handoffs are no tools.
"""

from __future__ import annotations

from collections.abc import Sequence

from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version
from metertap_instrumentation.tools.openai_agents import functions, mcp_tools, native, threads

_WITH_METADATA = (0, 19)
"""The first version whose runner calls a function that tells whether the SDK made the result."""


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    runner = "invoke_function_tool"
    if version >= _WITH_METADATA:
        runner = "_invoke_function_tool_with_metadata"
    return [
        *functions.patch_sets(runner),
        threads.InThreads(),
        *mcp_tools.patch_sets(),
        *native.patch_sets(),
    ]


INSTRUMENTATION = Instrumentation(LIBRARIES["tools.openai_agents"], _patch_sets)
