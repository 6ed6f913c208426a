"""The demo's MCP server: an ordinary server, which `metertap demo` starts with `metertap run`.

`python -m metertap.cli.demo.server [PORT [RELEASE [costs]]]` serves streamable HTTP on 127.0.0.1,
at any free port unless one is given, and prints the address as its only line of output. It ends
when its stdin is closed, and so also when its parent process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

import metertap

HOST = "127.0.0.1"
RELEASES = ("1.0", "2.0")
"""The versions of the demo's server; in the second, `search` is slower by mistake."""

Tool = TypeVar("Tool", bound=Callable[..., Any])


def make_server(release: str = RELEASES[0], costs: str = "") -> Any:
    """Return a server with tools that are fast, slow, failing, cached, or slower than callers wait.

    If `costs` is not empty, it also has tools that ask models.
    """
    server = _server_class()("demo-shop", log_level="CRITICAL")
    prices: dict[str, float] = {}
    price_cache = metertap.cache_meter("prices")
    search_seconds = (0.002, 0.012) if release == RELEASES[0] else (0.06, 0.1)

    def tool(function: Tool) -> Tool:
        return cast(Tool, server.tool()(function))

    @tool
    async def search(query: str) -> str:
        """Find products: fast."""
        await asyncio.sleep(random.uniform(*search_seconds))
        return f"3 products for {query}"

    @tool
    async def price(product: str) -> float:
        """Look up a price: fast when it is cached."""
        if product in prices:
            price_cache.hit()
            return prices[product]
        price_cache.miss()
        await asyncio.sleep(random.uniform(0.03, 0.06))
        if len(prices) >= 6:
            prices.pop(next(iter(prices)))
            price_cache.evicted()
        prices[product] = round(random.uniform(1, 100), 2)
        return prices[product]

    @tool
    async def recommend(product: str) -> str:
        """Recommend another product: slow."""
        await asyncio.sleep(random.uniform(0.15, 0.45))
        return f"who bought {product} also bought string"

    @tool
    async def order(product: str, quantity: int) -> str:
        """Place an order: fails one time in five."""
        await asyncio.sleep(random.uniform(0.01, 0.03))
        if random.random() < 0.2:
            raise ConnectionError("the warehouse does not answer")
        return f"{quantity} × {product} ordered"

    @tool
    async def report(months: int) -> str:
        """Make a report: takes longer than its callers wait, who cancel it."""
        await asyncio.sleep(10)
        return f"report of {months} months"

    if costs:
        from metertap.cli.demo.models import add_tools

        add_tools(tool)
    return server


def _server_class() -> Any:
    try:
        return import_module("mcp.server.mcpserver").MCPServer
    except ImportError:  # mcp 1.x
        return import_module("mcp.server.fastmcp").FastMCP


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until the process is told to end, or its stdin is closed."""
    import uvicorn

    threading.Thread(target=_end_with_stdin, daemon=True).start()

    # Some tools fail on purpose, and their tracebacks would fill the terminal.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    server = make_server(*sys.argv[2:])
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "it is no port"
            raise SystemExit(f"metertap demo: port {port} cannot be used: {reason}") from None
        sys.stdout.write(f"http://{HOST}:{listener.getsockname()[1]}/mcp\n")
        sys.stdout.flush()
        config = uvicorn.Config(
            server.streamable_http_app(), log_level="critical", timeout_graceful_shutdown=1
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
