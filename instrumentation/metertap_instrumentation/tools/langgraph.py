"""LangGraph: calls of tools that do not exist. Those of all others are LangChain's.

A `ToolNode` runs its tools by `BaseTool`, and answers itself if a model asks for one that it does
not have. `_validate_tool_call` makes that answer, in every version.

Not seen: the same in `AgentExecutor`, which runs a tool of its own then, `invalid_tool`.
"""

from __future__ import annotations

from typing import Any

from metertap import catalogue
from metertap.measuring.frameworks import Handlers
from metertap.measuring.wrappers import plain_wrapper
from metertap.outcomes import CALLER_ERROR, Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.tools import langchain


class Unknown(Handlers):
    """Calls of tools that a model made up, whose names must not become labels."""

    source = langchain.SOURCE

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        """Name the call `_OTHER` if the node has no such tool; None if it has."""
        call = args[0] if args else kwargs["call"]
        return None if call["name"] in instance.tools_by_name else catalogue.OTHER

    def size_of(self, result: Any) -> int:
        return langchain.size_of(result)

    def returned(self, _result: Any) -> Ending:
        """Judge the answer to a model: there was no such tool, the caller's error."""
        return Ending(CALLER_ERROR, CALLER_ERROR)


_UNKNOWN = Target("ToolNode._validate_tool_call", plain_wrapper(Unknown()))
INSTRUMENTATION = Instrumentation(
    LIBRARIES["tools.langgraph"], [PatchSet("langgraph.prebuilt.tool_node", [_UNKNOWN])]
)
