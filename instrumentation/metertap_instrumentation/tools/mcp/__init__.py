"""MCP servers and clients on the Python SDK: mcp 1.x and 2.x.

Every `tools/call` is counted once, at the place that every request of a server passes, whatever is
built on top: the low-level `Server`, FastMCP, MCPServer, and the fastmcp package with mounted
servers. Layers above that place only tell what they know (the exception behind an error result,
whether the tool exists); they count nothing.

Not seen: a direct `server.call_tool(...)` inside the process, which is no request; on 1.x, what the
SDK refuses before it is a request; on the client, the probe `server/discover` of 2.x.
"""

from __future__ import annotations

from collections.abc import Sequence

from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version
from metertap_instrumentation.tools.mcp import client, sessions


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    # A server need not wait for the import of the other version's module.
    if version < (2,):
        from metertap_instrumentation.tools.mcp.v1 import patch_sets
    else:
        from metertap_instrumentation.tools.mcp.v2 import patch_sets
    return [*patch_sets(), *client.patch_sets(), *sessions.patch_sets()]


INSTRUMENTATION = Instrumentation(LIBRARIES["tools.mcp"], _patch_sets)
