"""Calls on mcp 2.x for callgrind, which counts the machine's instructions whatever the load.

`valgrind --tool=callgrind --callgrind-out-file=/dev/null python -m benchmarks.mcp_counted low_level
ours 100`, and with 300: the difference of what it collected, by 200, is one call. The server is a
`low_level` or a `high_level` one. What is in force is `bare`, `nothing`, `least` or `ours`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys

import metertap
from benchmarks import mcp, mcp_floors

_SERVERS = {"low_level": mcp._low_level, "high_level": mcp._high_level}
_IN_FORCE = {
    "bare": contextlib.nullcontext,
    "nothing": mcp_floors.nothing,
    "least": mcp_floors.least,
    "ours": functools.partial(metertap.instrument, json_endpoint=False),
}


async def _calls(server: str, number: int) -> None:
    async with mcp.connected(_SERVERS[server]()) as client:
        for _ in range(number):
            await client.call_tool("work", {"number": 1})


def main() -> None:
    """Make a number of calls."""
    server, in_force, number = sys.argv[1:]
    with _IN_FORCE[in_force]():
        asyncio.run(_calls(server, int(number)))


if __name__ == "__main__":
    main()
