"""A WebSocket server that runs tools by name.

A request is `{"tool": "add", "arguments": {"a": 1, "b": 2}}`. Its reply has a `result`, or an
`error` that is the class of the exception. Connections are served concurrently, and the requests
of each connection one after the other.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection

Tool = Callable[..., Awaitable[Any]]


class UnknownTool(LookupError):
    pass


class BadArguments(ValueError):
    pass


class ToolServer:
    def __init__(self, tools: Mapping[str, Tool], time_limits: Mapping[str, float]) -> None:
        self.tools = tools
        self.time_limits = time_limits  # in seconds, by tool; other tools have no limit

    async def dispatch(self, tool_name: str, arguments: dict[str, Any]) -> Any:
        tool = self.tools.get(tool_name)
        if tool is None:
            raise UnknownTool(tool_name)
        try:
            inspect.signature(tool).bind(**arguments)
        except TypeError as error:
            raise BadArguments(str(error)) from None
        return await tool(**arguments)

    async def serve(self, connection: ServerConnection) -> None:
        """Answer one connection's requests until it is closed."""
        async for message in connection:
            await connection.send(json.dumps(await self._answer(json.loads(message))))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["tool"]
        try:
            call = self.dispatch(name, request.get("arguments", {}))
            return {"result": await asyncio.wait_for(call, self.time_limits.get(name))}
        except Exception as error:
            return {"error": type(error).__name__}
