"""Reading of this process by OpenTelemetry's instrumentor, and gates for its observations.

The instrumentor takes one provider for ever. It gets a `Gate` instead, which stands for one
provider and can hold observations back.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metertap import catalogue, faults
from metertap._version import __version__
from metertap.otel.instruments import silent
from metertap.state import settings
from metertap.unmocked import unmocked

# Without `process.runtime.*`: deprecated names for the same. Versions ignore unknown names.
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
"""The shortest time of a utilisation: CPU time is counted in ticks of a hundredth of a second."""

Read = Callable[[CallbackOptions], Iterable[Observation]]


class Source:
    """An instrumentor that reads this process, beside one that the application may have."""

    def __init__(self, instrumentor: Any, not_allowed: type[Exception]) -> None:
        self._theirs = instrumentor
        self._not_allowed = not_allowed
        self._reported: weakref.WeakKeyDictionary[Any, frozenset[str]] = weakref.WeakKeyDictionary()
        # A class of its own, since the singleton, and whether it has instrumented, belong to the
        # class.
        self._class: Any = type("ProcessInstrumentor", (instrumentor,), {"_instance": None})
        self._config = _config()
        self._pid = 0
        self._instrumentor: Any = None
        self._asked: float | None = None
        self._utilization: Sequence[Observation] = ()

    def register(self, gate: Any) -> None:
        """Make the instrumentor's instruments at `gate`, through which all of them read."""
        # Not `instrument()`, which instruments once and fixes the opt-ins of semantic conventions.
        self._instrumentor._instrument(meter_provider=gate)

    def renew(self) -> None:
        """Read the present process: in a forked child, the instrumentor still has its parent."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # The same object is made again, with a new process and labels.
            self._instrumentor = self._class(config=self._config)
            self._asked, self._utilization = None, ()

    def applications(self) -> frozenset[str]:
        """Return the metrics that an instrumentor of the application reports. It cannot stop."""
        theirs = getattr(self._theirs, "_instance", None)  # constructing one would change it
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
        """Return the CPU utilisation since a reader's last look, at least a second ago.

        The first look has no time before it, and no value.
        """
        now = unmocked.monotonic()
        if self._asked is None or now - self._asked >= _UTILIZATION_SECONDS:
            observed = list(read(options))
            self._utilization = observed if self._asked is not None else ()
            self._asked = now
        return self._utilization


class Gate:
    """A stand-in for a meter provider and its meter, which can hold observations back."""

    def __init__(self, provider: MeterProvider) -> None:
        self.is_open = False
        self.names: list[str] = []
        self._source: Source | None = None
        # Now: a provider that is shut down later would warn when asked for a meter.
        self._meter: Any = provider.get_meter(catalogue.SCOPE, __version__)

    def open(self, source: Source) -> None:
        """Let the instrumentor's observations pass."""
        source.renew()
        if self._source is None:
            self._source = source
            source.register(self)
            self._meter = None
        self.is_open = True

    def get_meter(self, *_args: Any, **_kwargs: Any) -> Gate:
        """Return itself, as the meter."""
        return self

    def __getattr__(self, create: str) -> Any:
        """Return the meter's method that creates an observable instrument, with gated callbacks."""
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
            # A utilisation needs a time before it: this first value has none, and is not reported.
            source.observations(name, read, CallbackOptions())
        return callback


def _config() -> dict[str, list[str] | None]:
    """Return what is reported on this interpreter, without what the operator excluded."""
    patterns = settings().excluded_process_metrics
    return {
        name: kinds
        for name, kinds in _CONFIG.items()
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        # On others, the instrumentor would log a warning for each.
        and (sys.implementation.name == "cpython" or not name.startswith("cpython."))
    }
