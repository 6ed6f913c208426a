"""The process as metrics: CPU, memory, threads, file descriptors, context switches, collections.

OpenTelemetry's `opentelemetry-instrumentation-system-metrics` reads them, if it is installed (the
extra `system`); the host is not read. That instrumentor is a singleton that instruments once, for
one provider, and cannot stop. So ours is a subclass with its own state, which registers at a `Gate`
instead of a provider: observations through a gate end with the tap, move with the provider, and
leave out every metric that the application reports by an instrumentor of its own.

Its import takes longer than all of metertap's, so a thread does that after the first tool or cache.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from opentelemetry.metrics import MeterProvider

from metertap import distributions, faults, locks, state, threads
from metertap.otel.by_provider import ByProvider
from metertap_instrumentation.process import NAME
from metertap_instrumentation.process.source import Gate, Source

DISTRIBUTION = "opentelemetry-instrumentation-system-metrics"

_FORK_WAITS_SECONDS = 1.0

# A provider keeps an observable instrument for ever, so there is one gate for each.
_gates = ByProvider(Gate)
_source: Source | None = None

_PAUSE_SECONDS = 1.0
"""Seconds from the first tool or cache to the import. If Ctrl-C ends a program while another thread
imports, its exit status is 1 instead of the signal's: so short programs are left alone."""

_loading = locks.lock()
"""Held by the importing thread. A child forked meanwhile could never import the same."""


class _Fork(threading.local):
    """Whether a fork has waited; False if this module was imported after the fork began."""

    waited = False


_fork = _Fork()
_cut_off = False
"""Whether this process was forked during the import, for which its parent waited too briefly."""


class ProcessMetrics:
    """Process metrics of one tap, on the providers that it records to."""

    def __init__(self) -> None:
        self._disabled = state.settings().is_disabled(NAME)
        self._recorder = state.recorder()
        self._lock = locks.rlock()
        self._ready = locks.event()
        self._is_over = locks.event()
        self._begun = False
        self._gates: set[Gate] = set()
        self._problem: str | None = None

    def start(self) -> None:
        """Wait for the first tool or cache; only then the installed package is looked for."""
        if not self._disabled:
            self._recorder.on_activity(self._begin)

    def observe(self, *providers: MeterProvider | None) -> None:
        """Record process metrics on these providers, and on no others."""
        if self._disabled:
            return
        with self._lock:
            before = self._gates
            self._gates = {_gates.of(item) for item in providers if item is not None}
            for gate in before - self._gates:  # its provider may be gone, but not its readers
                gate.is_open = False
            if self._ready.is_set():
                self._open()

    def close(self) -> None:
        """Report nothing from now on."""
        self._recorder.forget_activity_callback(self._begin)
        self.observe()

    def end(self) -> None:
        """Start no import any more, since the process ends."""
        self._recorder.forget_activity_callback(self._begin)
        self._is_over.set()

    def load(self) -> None:
        """Import the instrumentor, and report from now on. Never raises."""
        if self._disabled or self._ready.is_set() or distributions.version(DISTRIBUTION) is None:
            return
        if _cut_off:
            self._problem = "forked while the parent imported it"
            return
        with faults.guarded("process_metrics"), _loading:
            try:
                _import()
            except Exception as error:  # the package, or one that it needs, is broken
                self._problem = f"{type(error).__qualname__}: {faults.shown(error, str)}"
                faults.warn_once("process_metrics", "no process metrics: %s", self._problem)
                return
            with self._lock:
                self._open()
                self._ready.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the import, for `seconds` at most; return whether it is done."""
        return self._ready.wait(seconds)

    def forked(self) -> None:
        """Report nothing in a forked child until its first record; imported modules stay."""
        self._begun = self._ready.is_set()
        for gate in self._gates:
            gate.is_open = False

    def described(self) -> dict[str, Any]:
        """Describe the process metrics for `metertap doctor`."""
        reported = {name for gate in self._gates for name in gate.names}
        state, version = "on", distributions.version(DISTRIBUTION)
        if version is None:
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
            "version": version,
            "state": state,
            "problem": self._problem,
            "metrics": sorted(reported),
        }

    def _begin(self) -> None:
        """Load after the first tool or cache, whose call waits for this to return."""
        if self._begun:
            return
        self._begun = True
        if distributions.version(DISTRIBUTION) is None:
            return
        try:
            threads.Thread(target=self._load_later, name="metertap-process", daemon=True).start()
        except RuntimeError:  # the process ends, or has no thread left; the next tap may try again
            self._begun = False

    def _load_later(self) -> None:
        if not self._is_over.wait(_PAUSE_SECONDS):
            self.load()

    def _open(self) -> None:
        assert _source is not None
        for gate in self._gates:
            with faults.guarded("process_metrics"):
                gate.open(_source)


def _import() -> None:
    """Import the instrumentor, once in a process."""
    global _source
    if _source is None:
        module = importlib.import_module("opentelemetry.instrumentation.system_metrics")
        psutil = importlib.import_module("psutil")
        _source = Source(module.SystemMetricsInstrumentor, psutil.Error)


def _before_fork() -> None:
    _fork.waited = False  # should the wait be interrupted
    _fork.waited = _loading.acquire(timeout=_FORK_WAITS_SECONDS)


def _forked_in_parent() -> None:
    if _fork.waited:
        _loading.release()


def _forked() -> None:
    global _cut_off
    _cut_off = _cut_off or not _fork.waited


state.on_fork(before=_before_fork, parent=_forked_in_parent, child=_forked)
