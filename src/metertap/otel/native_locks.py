"""Locks of OpenTelemetry's where gevent has made greenlets of the program's threads.

Threads of metertap's stay threads there (see `metertap.threads`). A lock of gevent's that greenlets
of several threads wait for may wake none of them.
"""

from __future__ import annotations

import sys
from typing import Any

from metertap import locks, threads

_PACKAGES = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")
_EXPORTING = "opentelemetry.sdk.metrics._internal.export"
"""A reader of the program's holds its lock while it exports, when other greenlets run."""
_MAKERS = {"Lock": locks.lock, "RLock": locks.rlock}
_replaced: list[tuple[Any, str, object]] = []
"""Modules, their attributes, and what these were before."""


def keep_native() -> None:
    """Have OpenTelemetry's modules make Python's own locks from now on, where that is needed."""
    if not threads.stay_threads():
        return
    for name, module in sys.modules.copy().items():
        if name.startswith(_PACKAGES) and not name.startswith(_EXPORTING):
            for attribute, make in _MAKERS.items():
                before = vars(module).get(attribute)
                if before is not None and before is not make:
                    _replaced.append((module, attribute, before))
                    setattr(module, attribute, make)


def put_back() -> None:
    """Let OpenTelemetry's modules make the locks that they made before."""
    while _replaced:
        module, attribute, before = _replaced.pop()
        if vars(module).get(attribute) is _MAKERS[attribute]:
            setattr(module, attribute, before)
