"""A server program on stdin and stdout, with a tool that calls a server in memory.

When its session has ended it writes the transports of both servers' calls, and of its session, to
the file that is its argument.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from servers.mcp_stacks import MCP, of_this_sdk
from support.metric_data import points

sdk = of_this_sdk()
reader = InMemoryMetricReader()
metertap.instrument(meter_provider=MeterProvider([reader]))
server = (sdk.FastMCP if MCP < (2,) else sdk.MCPServer)("outer")


async def _echo(name: str) -> str:
    return name


@server.tool()
async def outer() -> str:
    async with sdk.connect(sdk.dispatcher("inner", _echo, [["inner"]])) as session:
        await session.call_tool("inner", {})
    return "done"


if __name__ == "__main__":
    server.run("stdio")
    found = {
        point.attributes["gen_ai.tool.name"]: point.attributes.get("network.transport")
        for point in points(reader, "mcp.server.operation.duration")
        if "gen_ai.tool.name" in point.attributes
    }
    found["sessions"] = sorted(
        str(point.attributes.get("network.transport"))
        for point in points(reader, "mcp.server.session.duration")
    )
    Path(sys.argv[1]).write_text(json.dumps(found))
