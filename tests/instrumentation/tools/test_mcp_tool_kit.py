"""What holds for the tools of every framework, for those of MCP servers, on each server stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

pytest.importorskip("mcp")
from kits.tool_kit import ToolKit
from metertap_instrumentation.tools import mcp
from servers.mcp_stacks import Stack, stacks

pytestmark = pytest.mark.mcp


@pytest.mark.parametrize("stack", [it for it in stacks() if it.empty is not None], ids=str)
class TestServers(ToolKit):
    source = "mcp:shop"
    instrumentation = mcp.INSTRUMENTATION
    validates = True
    raises = False
    names_are_made_up = True

    stack: ClassVar[Stack]

    @pytest.fixture(autouse=True)
    def on(self, stack: Stack) -> None:
        type(self).stack = stack

    def make(self, function: Callable[..., Any]) -> Any:
        return function

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        assert self.stack.empty is not None
        server = self.stack.empty("shop")
        for function in tools:
            server.tool()(function)
        async with self.stack.connect(server) as session:
            answers = [await session.call_tool(name, given) for name, given in calls]
        return [answer.content[0].text for answer in answers]
