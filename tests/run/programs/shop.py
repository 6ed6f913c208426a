"""A stdio MCP server on the high-level interface of whichever SDK is installed."""

import logging
from importlib.metadata import version

# Without times, so that two runs write the same; the SDK leaves a root logger with a handler be.
logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
logging.getLogger("mcp").setLevel(logging.CRITICAL)

if version("mcp").startswith("1."):
    from mcp.server.fastmcp import FastMCP as Server
else:
    from mcp.server.mcpserver import MCPServer as Server

shop = Server("shop")


@shop.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@shop.tool()
def fail(text: str) -> str:
    """Raise."""
    raise ValueError(text)


@shop.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


if __name__ == "__main__":
    shop.run("stdio")
