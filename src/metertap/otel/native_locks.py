"""Locks of OpenTelemetry's where gevent has made greenlets of the program's threads.

Threads of metertap's stay threads there (see `metertap.threads`). A lock of gevent's that greenlets
of several threads wait for may wake none of them.
"""

from __future__ import annotations

import sys

from metertap import locks, threads

_PACKAGES = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")
_MAKERS = {"Lock": locks.lock, "RLock": locks.rlock}


def keep_native() -> None:
    """Have OpenTelemetry's modules make Python's own locks from now on, where that is needed."""
    if threads.stay_threads():
        for name, module in sys.modules.copy().items():
            if name.startswith(_PACKAGES):
                for attribute, make in _MAKERS.items():
                    if attribute in vars(module):
                        setattr(module, attribute, make)
