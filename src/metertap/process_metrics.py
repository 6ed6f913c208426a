"""The process as metrics: CPU, memory, threads, file descriptors, context switches, collections.

OpenTelemetry's `opentelemetry-instrumentation-system-metrics` reads them where it is installed (the
extra `system`); the host is not asked. It is a singleton that instruments once, for one provider,
and cannot stop. So ours is a subclass, whose state is its own, and it registers at a `_Gate` in
place of a provider: what a gate lets through ends with the tap, moves with the provider, and is
quiet about every metric that the application reports by an instrumentor of its own.

Importing it takes longer than all the rest of metertap, so a thread does that once the first tool
or cache is seen.
"""

from __future__ import annotations

import fnmatch
import importlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metertap import catalogue, guard
from metertap._version import __version__
from metertap.recording import Recorder
from metertap.recording.instruments import silent
from metertap.settings import Settings

NAME = "system_metrics"
"""OpenTelemetry's name for it, by which it is disabled."""
DISTRIBUTION = "opentelemetry-instrumentation-system-metrics"
EXCLUDED_VARIABLE = "OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS"

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
_UTILIZATION = "process.cpu.utilization"
_UTILIZATION_SECONDS = 1.0
"""The shortest time that a utilisation is of: CPU time comes in ticks of a hundredth."""
_FORK_WAITS_SECONDS = 1.0

_Read = Callable[[CallbackOptions], Iterable[Observation]]

# A provider takes an observable instrument once and for good, so there is one gate for each.
_gates: weakref.WeakKeyDictionary[MeterProvider, _Gate] = weakref.WeakKeyDictionary()
_source: _Source | None = None

_PAUSE_SECONDS = 1.0
"""Between the first tool or cache and the import. A program that Ctrl-C ends during an import in
another thread has an exit status of 1 instead of the signal's: short ones are left alone."""

_loading = threading.Lock()
"""Held by the thread that imports. A child forked meanwhile could never import the same."""
_fork = threading.local()
_cut_off = False
"""Whether this is such a child: its parent did not wait long enough."""


class ProcessMetrics:
    """Process metrics of one tap, on the providers that it records to."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._disabled = not {NAME, "*"}.isdisjoint(settings.disabled_instrumentations)
        self._recorder = recorder
        self._lock = threading.RLock()
        self._ready = threading.Event()
        self._begun = False
        self._gates: set[_Gate] = set()
        self._problem: str | None = None
        self.version: str | None = None

    def start(self) -> None:
        """Wait for the first tool or cache, if there is anything to wait for."""
        try:
            self.version = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:
            return
        if not self._disabled:
            self._recorder.on_activity(self._begin)

    def observe(self, *providers: MeterProvider | None) -> None:
        """Have process metrics on these providers and no other."""
        if self._disabled or self.version is None:
            return
        with self._lock:
            before = self._gates
            self._gates = {_gate_of(item) for item in providers if item is not None}
            for gate in before - self._gates:  # its provider is gone perhaps, its readers are not
                gate.is_open = False
            if self._ready.is_set():
                self._open()

    def close(self) -> None:
        """Report nothing from now on."""
        self._recorder.forget_activity_callback(self._begin)
        self.observe()

    def load(self) -> None:
        """Import what reads the process, and report from now on. Never raises."""
        if self._disabled or self.version is None or self._ready.is_set():
            return
        if _cut_off:
            self._problem = "forked while the parent imported it"
            return
        with guard.guarded("process_metrics"), _loading:
            try:
                _import()
            except Exception as error:  # it, or what it needs, is broken
                self._problem = f"{type(error).__qualname__}: {guard.shown(error, str)}"
                guard.warn_once("process_metrics", "no process metrics: %s", self._problem)
                return
            with self._lock:
                self._open()
                self._ready.set()

    def wait(self, seconds: float) -> bool:
        """Whether everything is imported, within `seconds`."""
        return self._ready.wait(seconds)

    def forked(self) -> None:
        """In a forked child: report nothing until a record wakes it; what is imported stays."""
        self._lock = threading.RLock()
        ready, self._ready = self._ready.is_set(), threading.Event()
        if ready:
            self._ready.set()
        self._begun = ready
        for gate in self._gates:
            gate.is_open = False

    def described(self) -> dict[str, Any]:
        """What `doctor` shows."""
        reported = {name for gate in self._gates for name in gate.names}
        state = "on"
        if self.version is None:
            state = "not installed"
        elif self._disabled:
            state = "switched off"
        elif self._problem is not None:
            state = "failed"
        elif not self._ready.is_set():
            state = "waiting"
        elif _source is not None and (theirs := _source.applications()) & reported:
            reported -= theirs
            state = "on" if reported else "left to the application's own"
        return {
            "library": DISTRIBUTION,
            "version": self.version,
            "state": state,
            "problem": self._problem,
            "metrics": sorted(reported),
        }

    def _begin(self) -> None:
        """The first tool or cache: a call waits for this to return."""
        if self._begun:
            return
        self._begun = True
        try:
            threading.Thread(target=self._load_later, name="metertap-process", daemon=True).start()
        except RuntimeError:  # the process ends, or has no thread left: the next tap may try
            self._begun = False

    def _load_later(self) -> None:
        time.sleep(_PAUSE_SECONDS)
        self.load()

    def _open(self) -> None:
        assert _source is not None
        for gate in self._gates:
            with guard.guarded("process_metrics"):
                gate.open(_source)


def _gate_of(provider: MeterProvider) -> _Gate:
    gate = _gates.get(provider)
    if gate is None:
        gate = _gates[provider] = _Gate(provider)
    return gate


class _Source:
    """The instrumentor that reads this process, and what the application's own one reports."""

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

    def register(self, gate: _Gate) -> None:
        """Have the instrumentor make its instruments at `gate`, which they all read through."""
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
        """Metrics that an instrumentor of the application's reports. It cannot stop."""
        theirs = getattr(self._theirs, "_instance", None)  # to construct it would change it
        if theirs is None:
            return frozenset()
        if theirs not in self._reported and theirs.is_instrumented_by_opentelemetry:
            self._reported[theirs] = frozenset(getattr(theirs, "_config", _CONFIG))
        return self._reported.get(theirs, frozenset())

    def observations(
        self, name: str, read: _Read, options: CallbackOptions
    ) -> Sequence[Observation]:
        """What `read` observes, unless the application reports that or the system forbids it."""
        if name in self.applications():
            return ()
        try:
            return self._utilized(read, options) if name == _UTILIZATION else list(read(options))
        except self._not_allowed:
            return ()

    def _utilized(self, read: _Read, options: CallbackOptions) -> Sequence[Observation]:
        """CPU utilisation since it was last asked for, by whichever reader, a second ago or more.

        What it says first is of no time at all, and left out.
        """
        now = time.monotonic()
        if now - self._asked >= _UTILIZATION_SECONDS:
            observed = list(read(options))
            self._utilization = observed if self._asked else ()
            self._asked = now
        return self._utilization


class _Gate:
    """Stands where the instrumentor expects a meter provider and its meter."""

    def __init__(self, provider: MeterProvider) -> None:
        self.is_open = False
        self.names: list[str] = []
        self._source: _Source | None = None
        # Now: a provider that is shut down later warns whoever asks it for a meter.
        self._meter: Any = provider.get_meter(catalogue.SCOPE, __version__)

    def open(self, source: _Source) -> None:
        """Let the instrumentor's observations through."""
        source.renew()
        if self._source is None:
            self._source = source
            source.register(self)
            self._meter = None
        self.is_open = True

    # What the instrumentor calls

    def get_meter(self, *_args: Any, **_kwargs: Any) -> _Gate:
        return self

    def create_observable_counter(self, name: str, callbacks: Any = (), **told: str) -> Any:
        return self._meter.create_observable_counter(name, self._through(name, callbacks), **told)

    def create_observable_up_down_counter(self, name: str, callbacks: Any = (), **told: str) -> Any:
        create = self._meter.create_observable_up_down_counter
        return create(name, self._through(name, callbacks), **told)

    def create_observable_gauge(self, name: str, callbacks: Any = (), **told: str) -> Any:
        return self._meter.create_observable_gauge(name, self._through(name, callbacks), **told)

    def _through(self, name: str, callbacks: Iterable[_Read]) -> list[_Read]:
        assert self._source is not None
        self.names.append(name)
        return [self._callback(name, read, self._source) for read in callbacks]

    def _callback(self, name: str, read: _Read, source: _Source) -> _Read:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            if self.is_open and not silent.get():
                with guard.guarded("process_metrics"):
                    return source.observations(name, read, options)
            return ()

        if name == _UTILIZATION:
            source.observations(name, read, CallbackOptions())  # the first one is for nobody
        return callback


def _config() -> dict[str, list[str] | None]:
    """What is to be reported here, less what the operator excluded."""
    patterns = [item.strip() for item in os.environ.get(EXCLUDED_VARIABLE, "").split(",")]
    return {
        name: kinds
        for name, kinds in _CONFIG.items()
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        # Elsewhere the instrumentor would log a warning for each.
        and (sys.implementation.name == "cpython" or not name.startswith("cpython."))
    }


def _import() -> None:
    """Import the instrumentor, once a process."""
    global _source
    if _source is None:
        module = importlib.import_module("opentelemetry.instrumentation.system_metrics")
        psutil = importlib.import_module("psutil")
        _source = _Source(module.SystemMetricsInstrumentor, psutil.Error)


def _before_fork() -> None:
    _fork.waited = _loading.acquire(timeout=_FORK_WAITS_SECONDS)


def _forked_in_parent() -> None:
    if _fork.waited:
        _loading.release()


def _forked() -> None:
    global _loading, _cut_off
    _loading = threading.Lock()
    _cut_off = _cut_off or not _fork.waited


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_forked_in_parent, after_in_child=_forked
    )
