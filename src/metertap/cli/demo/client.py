"""The demo's client: it calls the server over streamable HTTP and counts the answers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from importlib.metadata import version
from typing import Any

from metertap_instrumentation.libraries import parse_version

_WORKERS = 6
_PATIENCE_SECONDS = 0.15
_PRODUCTS = tuple(f"product {number}" for number in range(9))

# How often each tool is called, in proportion. "bad" is a call of `order` with wrong arguments.
_MIX_OF_MODELS = {"ask": 40, "summarise": 10}
_QUESTIONS = 20
_MIX = {"search": 50, "price": 30, "recommend": 6, "order": 10, "report": 2, "bad": 1, "nope": 1}

OK, FAILED, CANCELLED, REFUSED = "ok", "failed", "cancelled", "refused"


class DemoClient:
    """Client that calls the server at `url`, and counts its answers in `counts[tool][result]`."""

    def __init__(self, url: str, *, costs: bool = False) -> None:
        """Use the tools of the server; with `costs`, also those that ask models."""
        self._url = url
        self._costs = costs
        self.counts: dict[str, Counter[str]] = {}
        self._ending = asyncio.Event()

    @property
    def total(self) -> int:
        """The number of calls that have ended."""
        return sum(sum(results.values()) for results in self.counts.values())

    def end(self) -> None:
        """Start no further call."""
        self._ending.set()

    async def run(self) -> None:
        """Call tools until `end` is called; return when the last call has ended."""
        async with _connected(self._url) as session:
            await session.list_tools()
            for kind in _MIX_OF_MODELS if self._costs else ():  # rare, but to be seen at once
                await self._counted(session, kind, kind)
            await asyncio.gather(*(self._work(session) for _ in range(_WORKERS)))

    async def _work(self, session: Any) -> None:
        mix = {**_MIX, **(_MIX_OF_MODELS if self._costs else {})}
        if parse_version(version("mcp")) < (1, 12):
            del mix["report"]  # such an old server breaks when a request is cancelled
        names, weights = list(mix), list(mix.values())
        while not self._ending.is_set():
            kind = random.choices(names, weights)[0]
            tool = {"bad": "order", "nope": "no_such_tool"}.get(kind, kind)
            await self._counted(session, kind, tool)
            await asyncio.sleep(random.uniform(0.005, 0.05))

    async def _counted(self, session: Any, kind: str, tool: str) -> None:
        result = await self._call(session, kind, tool)
        self.counts.setdefault(tool, Counter())[result] += 1

    async def _call(self, session: Any, kind: str, tool: str) -> str:
        product = random.choice(_PRODUCTS)
        arguments_of: dict[str, dict[str, Any]] = {
            "search": {"query": product},
            "price": {"product": product},
            "recommend": {"product": product},
            "order": {"product": product, "quantity": 1},
            "report": {"months": 12},
            "bad": {"product": product, "quantity": "many"},
            "nope": {},
            "ask": {"question": f"question {int(random.triangular(0, _QUESTIONS, 0))}"},
            "summarise": {"document": product},
        }
        arguments = arguments_of[kind]
        if kind == "report":
            await _give_up(session, tool, arguments)
            return CANCELLED
        result = await session.call_tool(tool, arguments)
        if not (getattr(result, "is_error", None) or getattr(result, "isError", None)):
            return OK
        return REFUSED if kind in {"bad", "nope"} else FAILED


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    mcp = import_module("mcp")
    if hasattr(mcp, "Client"):
        async with mcp.Client(url) as client:
            yield client
        return
    transport = import_module("mcp.client.streamable_http").streamablehttp_client(url)
    async with transport as (read, write, _), mcp.ClientSession(read, write) as session:
        await session.initialize()
        yield session


async def _give_up(session: Any, tool: str, arguments: dict[str, Any]) -> None:
    """Call a tool, wait a moment, and cancel the call."""
    mcp1_id = getattr(session, "_request_id", None)
    patience = _PATIENCE_SECONDS if mcp1_id is None else timedelta(seconds=_PATIENCE_SECONDS)
    try:
        await session.call_tool(tool, arguments, read_timeout_seconds=patience)
    except Exception:  # the timeout, whose class depends on the SDK's version
        if mcp1_id is not None:  # mcp 1.x does not tell the server itself
            types = import_module("mcp.types")
            params = types.CancelledNotificationParams(requestId=mcp1_id)
            note = types.CancelledNotification(method="notifications/cancelled", params=params)
            await session.send_notification(types.ClientNotification(note))
