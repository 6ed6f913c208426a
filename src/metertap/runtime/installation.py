"""The installation: the patches, pipeline, alerts and endpoints of this process, and their life."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from metertap import faults, locks, state
from metertap.runtime import listing, running
from metertap.runtime.asleep import Asleep, may_sleep
from metertap.runtime.callers import Caller
from metertap.runtime.endings import END_SECONDS, Endings
from metertap.runtime.host import MeasuredProcess
from metertap.runtime.opening import supervisor_watches
from metertap.settings.settings import Settings
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from metertap.otel.replay import Journal
    from metertap.runtime.handover import Handover
    from metertap.runtime.pipeline import Pipeline

_PATCHING = ("caches", "tools", "disabled_instrumentations", "disabled_by_opentelemetry")
"""The settings that decide what is patched."""
_HISTORY = ("history", "history_size")
_IMPORTS_SECONDS = 10.0
"""The longest that a fork waits while another thread imports the pipeline.

It takes this long only if that thread waits for the forking one.
"""
_FILE_SECONDS = 0.25
"""How long the end of a process waits for the file of a history before it pushes to a collector."""
_LEAVING_SECONDS = 0.1
"""The time that a hanging collector must leave, to leave the listing and the other workers."""
_PRICE_TABLE, _PRICES_SECONDS = "genai_prices", 5.0
"""The module whose import takes longer than the rest of an end, and the longest that may take."""


class Installation(MeasuredProcess):
    """The parts that measure one process, made with the settings in force at that time.

    Where measuring is disabled the installation exists and does nothing.
    """

    def __init__(self, caller: Caller, provider: MeterProvider | None = None) -> None:
        super().__init__(caller)
        self._provider = provider
        self._asleep: Asleep | None = None
        # Not guarded: without OpenTelemetry or wrapt there is nothing to measure with.
        self._pipeline = None if self._may_sleep() else self._new_pipeline()
        if importlib.util.find_spec("wrapt") is None:
            raise ModuleNotFoundError("No module named 'wrapt'", name="wrapt")
        if self._pipeline is not None:  # otherwise imports wait for the first record
            importlib.import_module("metertap.patching.wrapper")
        self._waking = locks.rlock()
        self._is_making = False
        self._fork = threading.local()
        self._endings = Endings(self._push_the_rest, self._stop_threads, _seconds_for_prices)
        self._watches = supervisor_watches(self._supervise)

    def start(self) -> None:
        """Start every part; the pipeline first, so that the first patched call has a target."""
        if not self.settings.enabled:
            return
        self.is_active = True
        with faults.guarded("pipeline"):
            self._start_pipeline()
        with faults.guarded("supervisors"):
            for watch in self._watches:
                watch.install()
        with faults.guarded("alerts"):
            self._watch_alerts()
        with faults.guarded("history"):
            self._keep_history()
        with faults.guarded("instrumentations"):
            _install_instrumentations(self.settings)
            if self._asleep is None:
                _begin_rest()
        with faults.guarded("endings"):
            self._endings.watch(pushes=self._pushes)
        with faults.guarded("announcement"):
            self._announcement.watch()
        with faults.guarded("listing"):
            self._list_unserved()

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that records go to; the first access makes it."""
        with self._waking:
            self._wake()
            if self._pipeline is None:  # nothing has been recorded
                self._pipeline = self._new_pipeline()
            return self._pipeline

    @property
    def _pushes(self) -> bool:
        pushes = self._pipeline is not None and self._pipeline.pushes
        return pushes or self.history is not None

    def _may_sleep(self) -> bool:
        return self._provider is None and may_sleep(self.settings, self._caller)

    def _new_pipeline(self) -> Pipeline:
        from metertap.otel import native_locks
        from metertap.runtime.pipeline import Pipeline

        native_locks.keep_native()
        return Pipeline(self, self._provider)

    def _start_pipeline(self, journal: Journal | None = None) -> None:
        """Start the pipeline, or put that off until the first record."""
        if self._pipeline is None and self._may_sleep():
            self._asleep = Asleep(self._wake, journal)
            self._asleep.start()
        else:
            self._pipeline = self._pipeline or self._new_pipeline()
            self._pipeline.start(None if journal is None else _handover(journal))

    def _wake(self) -> None:
        """Start the pipeline that was put off, unless another thread is starting it."""
        if self._waking.acquire(blocking=False):
            try:
                asleep, self._asleep = self._asleep, None
                if asleep is not None and self.is_active:
                    with faults.guarded("pipeline"), self._kept_asleep(asleep):
                        self._is_making = True
                        _begin_rest()
                        self._pipeline = self._new_pipeline()
                        self._pipeline.start(_handover(asleep.end()))
                    with faults.guarded("endings"):
                        self._endings.woken(pushes=self._pushes)
            finally:
                self._is_making = False
                self._waking.release()

    @contextlib.contextmanager
    def _kept_asleep(self, asleep: Asleep) -> Iterator[None]:
        """Let the next record try again if an interrupt ends the making of the pipeline."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            half, self._pipeline = self._pipeline, None
            if half is not None:
                half.shutdown()
            asleep.start()
            self._asleep = asleep
            raise

    def shutdown(self) -> None:
        """Flush, stop the endpoints and undo every patch. Recorded data stays. Never raises."""
        if not self.is_active:
            return
        self.is_active = False
        with faults.guarded("shutdown"):
            self._endings.forget()
        with faults.guarded("shutdown"):
            self._announcement.forget()
        with faults.guarded("shutdown"):
            for watch in self._watches:
                watch.uninstall()
        with faults.guarded("shutdown"):
            _uninstall_instrumentations()
        with faults.guarded("shutdown"):
            if native_locks := sys.modules.get("metertap.otel.native_locks"):
                native_locks.put_back()
        with faults.guarded("shutdown"):
            if self.watch is not None:
                self.watch.close()
        with faults.guarded("shutdown"):
            self._close_history()
        with faults.guarded("shutdown"), self._waking:
            asleep, self._asleep = self._asleep, None
            if asleep is not None:
                asleep.end()
                state.recorder().instruments = ()
            elif self._pipeline is not None:
                self._pipeline.shutdown()
        with faults.guarded("shutdown"):
            self._leaving.now()

    def replace(self, caller: Caller, provider: MeterProvider | None) -> None:
        """Take over the settings in force now, and lose nothing that was recorded."""
        self._caller, self._provider = caller, provider
        before, self.settings = self.settings, state.settings()
        self.notes.clear()
        if not (self.is_active and self.settings.enabled):
            self.shutdown()
            self._pipeline = None
            self.start()
            return
        with faults.guarded("alerts"):
            if self.watch is not None:
                self.watch.close()
        self.watch = None
        with faults.guarded("pipeline"), self._waking:
            if self._pipeline is not None:
                handover = self._pipeline.shutdown()
                self._pipeline = self._new_pipeline()
                self._pipeline.start(handover)
            elif self._asleep is not None:
                asleep, self._asleep = self._asleep, None
                self._start_pipeline(asleep.end())
        with faults.guarded("history"):
            if any(getattr(before, name) != getattr(self.settings, name) for name in _HISTORY):
                self._close_history()
                self._keep_history()
        with faults.guarded("endings"):
            self._endings.forget()
            self._endings.watch(pushes=self._pushes)
        with faults.guarded("alerts"):
            self._watch_alerts()
        with faults.guarded("instrumentations"):
            if any(getattr(before, name) != getattr(self.settings, name) for name in _PATCHING):
                _uninstall_instrumentations()
                _install_instrumentations(self.settings)

    def forked(self) -> None:
        """Renew in a forked child what the fork broke."""
        self._leaving.begin()
        if self.is_active:
            if self._asleep is not None:
                self._asleep.forked()
            elif self._pipeline is not None:
                self._pipeline.forked()
            if self.watch is not None:
                self.watch.forked()
            # After the pipeline's own callback, which gives the child readers to push with.
            state.recorder().forget_activity_callback(self._woken)
            state.recorder().on_activity(self._woken)
            self._announcement.forked()

    def _woken(self) -> None:
        state.recorder().forget_activity_callback(self._woken)
        self._endings.woken(pushes=self._pushes)

    def _push_the_rest(self, until: float) -> None:
        """Push what was not pushed yet, until `until` at most, and leave the listing."""
        # The first price imports the price table; later pushes would wait in vain for that import.
        with faults.guarded("exit"):
            if seconds := _seconds_for_prices():
                listing.briefly(_load_prices, seconds)
        # A locked file must leave time for the collector, and a hanging collector for the file.
        with faults.guarded("exit"):
            if self.history is not None:
                self.history.flush(min(until, unmocked.monotonic() + _FILE_SECONDS))
        with faults.guarded("exit"):
            if self._pipeline is not None:
                self._pipeline.at_exit(until - _LEAVING_SECONDS)
        with faults.guarded("exit"):
            if self.history is not None:
                self.history.flush(until)
        with faults.guarded("exit"):
            if self.watch is not None:
                self.watch.flush(until)
        with faults.guarded("exit"):
            self._leaving.now(until)

    def _stop_threads(self, until: float) -> None:
        """Ask every thread to end; an endpoint that is just coming up may be the last."""
        with faults.guarded("exit"):
            if self._pipeline is not None:
                self._pipeline.close_endpoints(until)
        with faults.guarded("exit"):
            if self.watch is not None:
                self.watch.end()
        with faults.guarded("exit"):
            if self.history is not None:
                self.history.end()
        with faults.guarded("exit"):
            self._leaving.now(until)

    def flush(self, timeout_milliseconds: float) -> None:
        """Push what was measured to the collector and to the history, if there are any."""
        if self.history is not None:
            with faults.guarded("flush"):
                self.history.flush(unmocked.monotonic() + timeout_milliseconds / 1000)
        if self._pipeline is not None:
            self._pipeline.flush(timeout_milliseconds)

    def before_fork(self, seconds: float) -> None:
        """Wait until no thread is making the pipeline, or a child would inherit a half-made one.

        Making it imports modules, and a child could never finish those imports, so a fork waits for
        them longer.
        """
        self._fork.waited = False  # should the wait be interrupted
        self._fork.waited = self._waking.acquire(timeout=seconds) or (
            self._is_making and self._waking.acquire(timeout=_IMPORTS_SECONDS)
        )

    def forked_in_parent(self) -> None:
        """Let other threads make the pipeline again."""
        if self._fork.waited:
            self._waking.release()

    def _supervise(self) -> None:
        """Leave the ports to the children: this process only starts and restarts them."""
        self.pipeline.rest()
        running.unregister()

    def _watch_alerts(self) -> None:
        if self.settings.has_alerts:
            from metertap.runtime.alert_watch import watch

            self.watch = watch(
                self.settings,
                state.recorder(),
                service=self.service,
                page=self.page_within,
                is_seen=self.pipeline.json is not None,
            )
            # A command or a test that looks at itself alerts nobody.
            if self.watch is not None and not self._caller.is_command:
                self.watch.start()

    def _keep_history(self) -> None:
        settings = self.settings
        if settings.history is not None and not self._caller.is_command:
            from metertap.history.writer import HistoryWriter

            self.history = HistoryWriter(
                settings.history,
                settings.history_size * 1_000_000,
                state.recorder(),
                self.service,
            )
            self.history.start()

    def _close_history(self) -> None:
        history, self.history = self.history, None
        if history is not None:
            history.close(unmocked.monotonic() + END_SECONDS)


def _handover(journal: Journal) -> Handover:
    from metertap.runtime.handover import Handover  # only awake processes need it

    return Handover(journal)


def _seconds_for_prices() -> float:
    """Return how much longer an end may take because the price table is not imported yet."""
    is_needed = state.recorder().has_usage and _PRICE_TABLE not in sys.modules
    return _PRICES_SECONDS if is_needed else 0.0


def _load_prices() -> None:
    with faults.guarded("exit"), contextlib.suppress(ImportError):
        importlib.import_module(_PRICE_TABLE)


def _install_instrumentations(settings: Settings) -> None:
    import metertap_instrumentation

    metertap_instrumentation.install(settings.is_disabled, settings.caches, settings.tools)
    metertap_instrumentation.check_names(settings.disabled_instrumentations)


def _begin_rest() -> None:
    import metertap_instrumentation

    metertap_instrumentation.begin_rest()


def _uninstall_instrumentations() -> None:
    import metertap_instrumentation

    metertap_instrumentation.uninstall()
