"""Function tools that are not async, which the SDK runs by `await asyncio.to_thread(…)`.

Nothing but that call knows the function, and patching `asyncio` would reach the whole program. So
the one module that makes the call gets an `asyncio` of its own, which differs in that function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

from metertap.measuring.in_threads import timed_in_thread
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live
from metertap_instrumentation.tools.openai_agents.functions import handlers


class OwnAsyncio(ModuleType):
    """`asyncio` as one module sees it, whatever other code may change in the real one."""

    def __init__(self, live: Live) -> None:
        super().__init__(asyncio.__name__, asyncio.__doc__)
        self.to_thread: Callable[..., Any] = timed_in_thread(handlers)(_to_thread, live)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def _to_thread(*args: Any, **kwargs: Any) -> Any:
    return asyncio.to_thread(*args, **kwargs)


class InThreads(PatchSet):
    """The patch of `agents.tool`, whose name `asyncio` is replaced."""

    def __init__(self) -> None:
        super().__init__("agents.tool", (), name="agents.tool: asyncio")
        self._replaced: list[tuple[Any, OwnAsyncio, Live]] = []

    def follow(self, module: Any) -> None:
        """Replace the name, unless it is another object's."""
        if vars(module).get("asyncio") is asyncio:
            live = [True]
            module.asyncio = OwnAsyncio(live)
            self._replaced.append((module, module.asyncio, live))

    def uninstall(self) -> None:
        """Restore the name."""
        with self._lock:
            super().uninstall()
            while self._replaced:
                module, ours, live = self._replaced.pop()
                live.clear()
                if vars(module).get("asyncio") is ours:
                    module.asyncio = asyncio
