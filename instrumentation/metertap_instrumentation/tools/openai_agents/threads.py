"""Function tools that are not async, which the SDK runs by `await asyncio.to_thread(…)`.

Nothing but that call knows the function, and patching `asyncio` would reach the whole program. So
the one module that makes the call gets an `asyncio` of its own, which differs in that function.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from types import ModuleType
from typing import Any

from metertap.measuring.in_threads import timed_in_thread
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live
from metertap_instrumentation.tools.openai_agents.functions import handlers


class OwnAsyncio(ModuleType):
    """`asyncio` as one module sees it, whatever other code may change in the real one."""

    def __init__(self, live: Live) -> None:
        super().__init__(asyncio.__name__)
        vars(self).clear()  # what the import system knows of a module is asked for, too
        self.__doc__ = asyncio.__doc__
        run: Any = timed_in_thread(handlers)(_to_thread, live)
        self.to_thread: Any = functools.update_wrapper(run, asyncio.to_thread)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def __dir__(self) -> list[str]:
        return dir(asyncio)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (asyncio.__name__,)


def _to_thread(func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return asyncio.to_thread(func, *args, **kwargs)  # a function that awaits is in tracebacks


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
