"""Reading this process by OpenTelemetry's instrumentor for it, and a switch for what it observes.

The instrumentor takes one provider for good. It gets a `Gate` in its place, which stands before one
provider and can hold back what is observed.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metertap import catalogue, faults
from metertap._version import __version__
from metertap.otel.instruments import silent
from metertap.state import settings

# Not its `process.runtime.*`: deprecated names for the same. A version ignores what it has not got.
_CONFIG: dict[str, list[str] | None] = {
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.thread.count": None,
    "process.open_file_descriptor.count": None,
    "process.context_switches": ["involuntary", "voluntary"],
    "process.disk.io": ["read", "write"],
    "cpython.gc.collections": None,
    "cpython.gc.collected_objects": None,
    "cpython.gc.uncollectable_objects": None,
}
UTILIZATION = "process.cpu.utilization"
_UTILIZATION_SECONDS = 1.0
"""The shortest time that a utilisation is of: CPU time comes in ticks of a hundredth."""

Read = Callable[[CallbackOptions], Iterable[Observation]]


class Source:
    """An instrumentor that reads this process, beside one that the application may have."""

    def __init__(self, instrumentor: Any, not_allowed: type[Exception]) -> None:
        self._theirs = instrumentor
        self._not_allowed = not_allowed
        self._reported: weakref.WeakKeyDictionary[Any, frozenset[str]] = weakref.WeakKeyDictionary()
        # A class of its own, because the singleton and whether it instruments are the class's.
        self._class: Any = type("ProcessInstrumentor", (instrumentor,), {"_instance": None})
        self._config = _config()
        self._pid = 0
        self._instrumentor: Any = None
        self._asked = 0.0
        self._utilization: Sequence[Observation] = ()

    def register(self, gate: Any) -> None:
        """Make the instrumentor's instruments at `gate`, through which they all read."""
        # Not `instrument()`: that instruments once, and fixes the semantic conventions' opt-ins.
        self._instrumentor._instrument(meter_provider=gate)

    def renew(self) -> None:
        """Read the process that this is: a forked child begins with its parent."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # Made again it is the same object, with a process and labels that are new.
            self._instrumentor = self._class(config=self._config)
            self._asked, self._utilization = 0.0, ()

    def applications(self) -> frozenset[str]:
        """Return the metrics that an instrumentor of the application's reports. It cannot stop."""
        theirs = getattr(self._theirs, "_instance", None)  # to construct it would change it
        if theirs is None:
            return frozenset()
        if theirs not in self._reported and theirs.is_instrumented_by_opentelemetry:
            self._reported[theirs] = frozenset(getattr(theirs, "_config", _CONFIG))
        return self._reported.get(theirs, frozenset())

    def observations(
        self, name: str, read: Read, options: CallbackOptions
    ) -> Sequence[Observation]:
        """Return what `read` observes, less what the application reports or the system forbids."""
        if name in self.applications():
            return ()
        try:
            return self._utilized(read, options) if name == UTILIZATION else list(read(options))
        except self._not_allowed:
            return ()

    def _utilized(self, read: Read, options: CallbackOptions) -> Sequence[Observation]:
        """Return the CPU utilisation since a reader last asked for it, a second ago or more.

        The first value is of no time at all, and left out.
        """
        now = time.monotonic()
        if now - self._asked >= _UTILIZATION_SECONDS:
            observed = list(read(options))
            self._utilization = observed if self._asked else ()
            self._asked = now
        return self._utilization


class Gate:
    """A stand-in for a meter provider and its meter, whose observations can be held back."""

    def __init__(self, provider: MeterProvider) -> None:
        self.is_open = False
        self.names: list[str] = []
        self._source: Source | None = None
        # Now: a provider that is shut down later warns whoever asks it for a meter.
        self._meter: Any = provider.get_meter(catalogue.SCOPE, __version__)

    def open(self, source: Source) -> None:
        """Let the instrumentor's observations through."""
        source.renew()
        if self._source is None:
            self._source = source
            source.register(self)
            self._meter = None
        self.is_open = True

    def get_meter(self, *_args: Any, **_kwargs: Any) -> Gate:
        """Stand in for the meter, too."""
        return self

    def __getattr__(self, create: str) -> Any:
        """Create an observable instrument as the meter does, by callbacks that can be held back."""
        make = getattr(self._meter, create)

        def created(name: str, callbacks: Iterable[Read] = (), **told: str) -> Any:
            assert self._source is not None
            self.names.append(name)
            through = [self._callback(name, read, self._source) for read in callbacks]
            return make(name, through, **told)

        return created

    def _callback(self, name: str, read: Read, source: Source) -> Read:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            if self.is_open and not silent.get():
                with faults.guarded("process_metrics"):
                    return source.observations(name, read, options)
            return ()

        if name == UTILIZATION:
            # A share of time needs a period: this first value has none, and is not reported.
            source.observations(name, read, CallbackOptions())
        return callback


def _config() -> dict[str, list[str] | None]:
    """Return what is to be reported on this interpreter, less what the operator excluded."""
    patterns = settings().excluded_process_metrics
    return {
        name: kinds
        for name, kinds in _CONFIG.items()
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        # Elsewhere the instrumentor would log a warning for each.
        and (sys.implementation.name == "cpython" or not name.startswith("cpython."))
    }
