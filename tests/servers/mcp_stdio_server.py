"""A server program that speaks its protocol on stdin and stdout, measured by one call."""

from __future__ import annotations

from importlib import metadata

import metertap

metertap.instrument()

if metadata.version("mcp").startswith("1."):
    from mcp.server.fastmcp import FastMCP as Server
else:
    from mcp.server.mcpserver import MCPServer as Server

server = Server("shop")


@server.tool()
async def fine() -> str:
    return "fine"


@server.tool()
async def raises() -> str:
    raise ValueError("unknown tool")


if __name__ == "__main__":
    server.run("stdio")
