"""A program that serves tools in memory, calls them, and prints what was measured.

Its argument, `before` or `after`, says when metertap comes: before the SDK's import, or after it.
"""

from __future__ import annotations

import asyncio
import json
import sys

import metertap


def main(order: str) -> None:
    if order == "before":
        metertap.instrument(json_endpoint=False)
    from servers.mcp_stacks import stacks
    from servers.mcp_tools import Gate

    if order == "after":
        metertap.instrument(json_endpoint=False)
        metertap.instrument()

    async def call() -> None:
        for stack in stacks():
            async with stack.connect(stack.build(Gate())) as session:
                await session.call_tool("fine", {})

    asyncio.run(call())
    fine = metertap.get_all_metrics()["tool_metrics"]["fine"]
    print(json.dumps({"stacks": len(stacks()), "calls": fine["total_calls"]}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
