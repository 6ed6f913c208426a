"""LangGraph: calls of tools that do not exist. All other calls are measured as LangChain's.

A `ToolNode` runs its tools by `BaseTool`, and itself answers a model that calls a tool that it does
not have. In every version, `_validate_tool_call` makes that answer.

Not seen: the same in `AgentExecutor`, which then runs a tool of its own, `invalid_tool`.
"""

from __future__ import annotations

from typing import Any

from metertap import catalogue
from metertap.measuring.frameworks import Handlers
from metertap.measuring.wrappers import plain_wrapper
from metertap.outcomes import CALLER_ERROR, Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import comparable
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.tools import langchain


class Unknown(Handlers):
    """Calls of tools that a model made up: their names must not become labels."""

    source = langchain.SOURCE

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """Return `_OTHER` if the node has no such tool; None if it has."""
        call = args[0] if args else kwargs["call"]
        return None if call["name"] in instance.tools_by_name else catalogue.OTHER

    def size_of(self, result: Any) -> int:
        return langchain.size_of(result)

    def returned(self, _result: Any) -> Ending:
        """Return the ending of a call of a tool that does not exist: the caller's error."""
        return Ending(CALLER_ERROR, CALLER_ERROR)


_UNKNOWN = comparable("ToolNode._validate_tool_call", plain_wrapper(Unknown()))
INSTRUMENTATION = Instrumentation(
    LIBRARIES["tools.langgraph"], [PatchSet("langgraph.prebuilt.tool_node", [_UNKNOWN])]
)
