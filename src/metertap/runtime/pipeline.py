"""The pipeline: which meter provider is in force, and what happens when another one is.

A provider that the application set is used as it is, and given readers
(`metertap.runtime.readers`) for what it does not export already. Without one metertap makes its
own, never sets it as the global one, and moves when the application sets one: instruments, readers,
and the counts so far.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

from metertap import faults, locks
from metertap.otel import resource, sdk
from metertap.otel.instruments import OtelInstruments
from metertap.otel.replay import Journal
from metertap.patching.patch_set import PatchSet, Target
from metertap.recording import Recorder
from metertap.runtime.providers import instruments_of
from metertap.runtime.readers import Readers
from metertap.settings.settings import Settings
from metertap_instrumentation.process.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    from metertap_exporters.http.endpoint import Endpoint
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.prometheus import PrometheusExporter

FLUSH_MILLISECONDS = 500.0
"""The longest that a shutdown waits for a collector."""
_SETTLE_SECONDS = 0.5
"""The longest that an application that sets a provider waits for an export in progress."""


class Pipeline:
    """Instruments, readers and endpoints of one tap.

    `provider` is where records go; `owned` is the same where metertap made it, and the place of
    our readers where the application's takes none. `notes` are decisions that `doctor` tells.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        provider: MeterProvider | None = None,
        on_bound: Callable[[Endpoint], None] | None = None,
        diagnosis: Callable[[], Mapping[str, Any]] = dict,
        alerts: Callable[[], list[dict[str, Any]] | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._chosen = provider
        self._readers = Readers(
            settings,
            recorder,
            service=self.service,
            diagnosis=diagnosis,
            alerts=alerts,
            note=self._note,
            on_bound=on_bound,
        )
        self.process_metrics = ProcessMetrics(settings, recorder)
        self._lock = locks.rlock()
        self.provider: MeterProvider | None = None
        self.owned: SdkMeterProvider | None = None
        self.notes: list[str] = []
        self._journal: Journal | None = None
        self._asleep: Journal | None = None
        self._watch = PatchSet(
            sdk.SET_PROVIDER_MODULE,
            [Target(sdk.SET_PROVIDER_FUNCTION, self._set_provider, optional=True)],
        )
        self._watch_readers = PatchSet(
            sdk.CONSUMER_MODULE,
            [Target(sdk.ADD_READER_FUNCTION, self._add_reader, optional=True)],
        )

        self._watch_spans = PatchSet(
            sdk.TRACE_MODULE,
            [Target(sdk.START_SPAN_METHOD, self._start_span, optional=True)],
        )

    # Life

    def start(self) -> None:
        """Attach to the provider in force, or make one and watch for the application's."""
        if self._recorder.sampled_context is None:
            self._watch_spans.install()
            if sdk.sampled_context() is not None:
                self._trace()
        self._watch_readers.install()
        with self._lock:
            provider = self._chosen
            if provider is None:
                provider = sdk.provider_in_force()
            if provider is None:
                self._make_own()
                self._watch.install()
                self.check()  # one may have been set meanwhile
            else:
                self._attach(provider)
            self.process_metrics.start()
            self._observe_process()

    def check(self) -> None:
        """Notice a provider that was set where no patch could see it."""
        if self._journal is not None:
            provider = sdk.provider_in_force()
            if provider is not None:
                self._move(provider)
                self._observe_process()

    def flush(self, timeout_milliseconds: float = FLUSH_MILLISECONDS) -> None:
        """Push what was measured to the collector, if one is exported to."""
        otlp = self._readers.otlp
        if otlp is not None:
            with faults.guarded("flush"):
                otlp.force_flush(timeout_millis=timeout_milliseconds)

    def deliver_nothing(self) -> None:
        """Push nothing from now on: this process only looks at itself."""
        if self._readers.otlp is not None:
            self._readers.otlp.delivery.discard()

    def at_exit(self) -> None:
        """The process ends: push the rest. Everything else dies with the process."""
        otlp = self._readers.otlp
        if otlp is not None:
            otlp.shutdown(timeout_millis=FLUSH_MILLISECONDS)

    def shutdown(self) -> None:
        """Push the rest, take our readers away and leave every provider; shut none down."""
        self._watch.uninstall()
        self._watch_readers.uninstall()
        self._watch_spans.uninstall()
        with self._lock:
            self._journal = self._asleep = None
            with faults.guarded("shutdown.otlp"):
                self.at_exit()
            self._readers.otlp = None
            self.process_metrics.close()
            self._recorder.instruments = ()
            self._readers.leave()
            for provider in (self.owned, self.provider):
                if provider is not None:
                    instruments_of(provider).close()
            self.owned = self.provider = None
            self._readers.close()

    def forked(self) -> None:
        """In a forked child: nothing of the parent's is used, nothing is made before it is needed.

        Most children record nothing. And a fork hook is no place to use the SDK in: others' locks
        may still be held, until their hooks have run.
        """
        self._readers.forked()
        self.process_metrics.forked()
        self._journal = None
        if self.provider is None:
            return
        self._asleep = Journal()
        self._recorder.instruments = (self._asleep,)
        self._recorder.forget_activity_callback(self._wake)
        self._recorder.on_activity(self._wake)
        self._readers.listen_again()

    def _wake(self) -> None:
        """The first record of a forked child: readers that count from there.

        A provider of ours is made anew, since the SDK's counts are the parent's. The
        application's gets new readers of ours; its own are the application's to care for.
        """
        with self._lock:
            self._recorder.forget_activity_callback(self._wake)
            kept, self._asleep = self._asleep, None
            if kept is None:
                return
            application = self.provider if self.provider is not self.owned else None
            self._readers.leave()
            if self.owned is not None:
                instruments_of(self.owned).close()
                self._make_own(application)
            elif application is not None:
                self._readers.equip(application)
                self._record_to(instruments_of(application))
            with self._recorder.lock:
                for instruments in self._recorder.instruments:
                    kept.replay(instruments)
            if self.pushes and "multiprocessing.util" in sys.modules:
                # A child of multiprocessing ends without running exit handlers.
                sys.modules["multiprocessing.util"].Finalize(None, self.at_exit, exitpriority=0)
            self._observe_process()
            self.check()  # the application may have set a provider meanwhile

    # What others ask

    @property
    def json(self) -> JsonSnapshot | None:
        """The JSON view, if there is one."""
        return self._readers.json

    @property
    def prometheus(self) -> PrometheusExporter | None:
        """The Prometheus view, if there is one."""
        return self._readers.prometheus

    @property
    def otlp_problem(self) -> str | None:
        """Why OTLP, though asked for, is not exported."""
        return self._readers.otlp_problem

    @property
    def pushes(self) -> bool:
        """Whether something is pushed, and so could be lost when the process ends."""
        return self._readers.otlp is not None

    def service(self) -> dict[str, str]:
        """Identity of the program: its provider's, unless nobody gave that one a name."""
        found = resource.identity(self._settings)
        if self.owned is None and self.provider is not None:
            theirs = sdk.resource_of(self.provider)
            if not str(theirs.get("service.name", "unknown_service")).startswith("unknown_service"):
                keys = ("service.name", "service.version", "service.instance.id")
                found = {key: str(theirs[key]) for key in keys if key in theirs}
        return resource.shortened(found)

    def readers(self) -> list[tuple[str, bool]]:
        """The readers in force, by class, and whether each is ours."""
        return self._readers.described()

    def recording_paths(self) -> list[str]:
        """How records reach the SDK, for each provider that is recorded to."""
        instruments = self._recorder.instruments
        return [item.path for item in instruments if isinstance(item, OtelInstruments)]

    # Providers

    def _make_own(self, application: MeterProvider | None = None) -> None:
        """Record to a provider of ours, and to the application's if that one takes no readers."""
        own = SdkMeterProvider(resource=resource.resource(self._settings), shutdown_on_exit=False)
        self.owned = own
        self.provider = own if application is None else application
        self._readers.equip(own)  # first: a provider keeps nothing for readers that come later
        ours = instruments_of(own)
        if application is not None:
            self._record_to(ours, instruments_of(application))
        else:
            self._journal = Journal()
            self._record_to(ours, self._journal)

    def _attach(self, provider: MeterProvider) -> None:
        """Record to the application's provider from the start."""
        if not sdk.takes_readers(provider):
            self._note_takes_no_readers(provider)
            self._make_own(provider)
            return
        if sdk.is_disabled(provider):
            self._note("the provider in force is disabled: only the JSON view has data")
        self.provider = provider
        self._readers.equip(provider)
        self._record_to(instruments_of(provider))

    def _set_provider(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        with faults.guarded("pipeline.move"):
            self.check()
        return result

    def _start_span(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("pipeline.trace"):
            self._trace()
        return wrapped(*args, **kwargs)

    def _trace(self) -> None:
        """The program traces: from now on samples are asked for the span they are taken in."""
        self._watch_spans.uninstall()
        self._recorder.trace_with(sdk.sampled_context)

    def _add_reader(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        self._recorder.fold()  # what waits was measured before there was this reader
        result = wrapped(*args, **kwargs)
        self._recorder.begin_again()
        return result

    def _move(self, provider: MeterProvider) -> None:
        """Leave our own provider for the one that the application set just now."""
        with self._lock:
            journal, own = self._journal, self.owned
            if journal is None or own is None:
                return
            self._journal = None
            self.provider = provider
            ours, theirs = instruments_of(own), instruments_of(provider)
            if not sdk.takes_readers(provider):
                self._note_takes_no_readers(provider)
                with self._recorder.lock:
                    self._recorder.fold()
                    journal.replay(theirs)
                    self._record_to(ours, theirs)
                return
            otlp, self._readers.otlp = self._readers.otlp, None
            # What a collector got from us already must not reach it again from the application;
            # what nobody got goes along.
            delivered = otlp is not None and otlp.delivery.settle(_SETTLE_SECONDS)
            self._readers.leave(but=otlp)
            self.owned = None
            self._readers.equip(provider)
            # Not with the recorder's lock: caches have locks of their own, and new names need it.
            observed = ours.freeze() if delivered else None
            with self._recorder.lock:
                self._recorder.fold()
                if observed is not None:
                    theirs.start_after(observed)
                else:
                    journal.replay(theirs)
                self._record_to(theirs)
            if delivered or journal.overflowed:
                self._note("the provider was set late: its histograms begin there")
            if otlp is not None:
                with faults.guarded("pipeline.move"):
                    otlp.shutdown(timeout_millis=FLUSH_MILLISECONDS if delivered else 0)
                with faults.guarded("pipeline.move"):
                    sdk.detach(own, otlp)
            ours.close()

    def _record_to(self, *instruments: OtelInstruments | Journal) -> None:
        for item in instruments:
            if isinstance(item, OtelInstruments):
                item.open(self._recorder)
        self._recorder.instruments = instruments

    def _observe_process(self) -> None:
        # Not with the recorder's lock: who collects holds the SDK's, and may wait for that one.
        with faults.guarded("process_metrics"), self._lock:
            self.process_metrics.observe(self.owned, self.provider)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _note_takes_no_readers(self, provider: MeterProvider) -> None:
        described = f"{type(provider).__module__}.{type(provider).__qualname__}"
        self._note(f"{described} takes no readers: ours have a provider of their own")
