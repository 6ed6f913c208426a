"""An MCP server for mcp 2.x, measured by one added line.

Without that line, `metertap run -- python mcp_server.py` measures it.
"""

import asyncio
import json

from mcp import Client
from mcp.server.mcpserver import MCPServer

import metertap

tap = metertap.instrument()  # the one line; it may come before or after the imports

server = MCPServer("weather", log_level="CRITICAL")


@server.tool()
async def forecast(city: str) -> str:
    """What the sky will do."""
    await asyncio.sleep(0.01)
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"{city}: rain, later more rain"


async def main() -> None:
    async with Client(server) as client:
        for city in ("Bergen", "Oslo", "Atlantis", "Bergen"):
            await client.call_tool("forecast", {"city": city})


asyncio.run(main())
print(json.dumps(tap.snapshot()["tool_metrics"]["forecast"], indent=2))
