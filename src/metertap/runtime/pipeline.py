"""The pipeline: the meter provider in force, and the move to another one.

Where the application has set a provider, the pipeline uses it as it is, and adds readers
(`metertap.runtime.readers`) for whatever it does not export already. Otherwise metertap makes a
provider of its own, never sets it as the global one, and moves its instruments, readers and counts
to the application's provider when the application sets one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import MeterProvider

from metertap import faults, locks, recording, state
from metertap.otel import resource, sdk
from metertap.otel.instruments import OtelInstruments
from metertap.otel.own_provider import OwnProvider
from metertap.otel.replay import UNTIL_AWAKE, Journal
from metertap.runtime.endings import END_SECONDS, FLUSH_MILLISECONDS
from metertap.runtime.handover import Handover
from metertap.runtime.providers import instruments_of
from metertap.runtime.readers import Mounted, Readers
from metertap.runtime.sdk_watch import ProviderWatch, ReaderWatch, SpanWatch
from metertap.unmocked import unmocked
from metertap_exporters.host import Host
from metertap_instrumentation.process.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.prometheus import PrometheusExporter

_SETTLE_SECONDS = 0.5
"""The longest that an application that sets a provider waits for an export in progress."""


class Pipeline:
    """Instruments, readers and endpoints, with the settings in force when it is made.

    `provider` receives the records. `owned` is the provider that metertap made, if it made one: the
    same as `provider`, or one that holds our readers because the application's provider takes none.
    """

    def __init__(self, host: Host, provider: MeterProvider | None = None) -> None:
        recording.load()
        self._host = host
        self._settings = state.settings()
        self._recorder = state.recorder()
        self._chosen = provider
        self._readers = Readers(host)
        self.process_metrics = ProcessMetrics()
        self._lock = locks.rlock()
        self.provider: MeterProvider | None = None
        self.owned: OwnProvider | None = None
        self._journal: Journal | None = None
        self._asleep: Journal | None = None
        self._watch = ProviderWatch(self.check)
        self._watches = (self._watch, ReaderWatch(), SpanWatch())

    # Life

    def start(self, handover: Handover | None = None) -> None:
        """Attach to the provider in force, or make one and watch for the application's.

        `handover` comes from the previous pipeline, which this one replaces.
        """
        for watch in self._watches[1:]:
            watch.install()
        with self._lock:
            provider = self._chosen
            if provider is None:
                provider = sdk.provider_in_force()
            if provider is None:
                self._make_own()
            else:
                self._attach(provider)
            if handover is not None:
                self._take_over(handover)
            if self._journal is not None:
                self._watch.install()
                self.check()  # the application may have set one meanwhile
            self.process_metrics.start()
            self._observe_process()

    def check(self) -> None:
        """Move to a provider that was set where no patch could see it."""
        if self._journal is not None:
            provider = sdk.provider_in_force()
            if provider is not None:
                self._move(provider)
                self._observe_process()

    def flush(self, timeout_milliseconds: float = FLUSH_MILLISECONDS) -> None:
        """Push what was measured to the collector, if there is one."""
        otlp = self._readers.otlp
        if otlp is not None:
            with faults.guarded("flush"):
                otlp.force_flush(timeout_millis=timeout_milliseconds)

    def deliver_nothing(self) -> None:
        """Push nothing from now on: this process only looks at its own metrics."""
        if self._readers.otlp is not None:
            self._readers.otlp.delivery.discard()

    def at_exit(self, until: float) -> None:
        """Push the rest as the process ends, until `until` by the monotonic clock at most."""
        with faults.guarded("exit"):
            self._readers.workers.tell_last(until)
        otlp = self._readers.otlp
        if otlp is not None:
            otlp.shutdown(timeout_millis=max(0.0, until - unmocked.monotonic()) * 1000)

    def close_endpoints(self, until: float) -> None:
        """Stop serving and start nothing new; wait until `until` at most."""
        self.process_metrics.end()
        self._readers.close(until)

    def shutdown(self) -> Handover | None:
        """Push the rest, remove our readers and leave every provider; shut none down.

        Returns what the next pipeline needs to go on: None where the application's provider, which
        goes on itself, has everything.
        """
        handover = None
        for watch in self._watches:
            watch.uninstall()
        with self._lock:
            journal, self._journal, self._asleep = self._journal, None, None
            otlp = self._readers.otlp
            with faults.guarded("shutdown.otlp"):
                self.at_exit(unmocked.monotonic() + END_SECONDS)
            if journal is not None and self.owned is not None:
                delivered = otlp is not None and otlp.delivery.delivered
                self._recorder.fold()
                handover = Handover(
                    None if delivered else journal,
                    instruments_of(self.owned).freeze() if delivered else None,
                )
            self._readers.otlp = None
            self.process_metrics.close()
            self._recorder.instruments = ()
            self._readers.leave()
            for provider in (self.owned, self.provider):
                if provider is not None:
                    instruments_of(provider).close()
            self.owned = self.provider = None
            self._readers.close(unmocked.monotonic() + END_SECONDS)
        return handover

    def rest(self) -> None:
        """Stop listening in this process; the children that it forks may listen."""
        self._readers.rest()

    def forked(self) -> None:
        """Use nothing of the parent's in a forked child, and make nothing before the first record.

        Most children record nothing. And a fork hook must not use the SDK: other libraries' locks
        may still be held until their own hooks have run.
        """
        self._readers.forked()
        self.process_metrics.forked()
        self._journal = None
        if self.provider is None:
            return
        self._asleep = Journal(UNTIL_AWAKE)
        self._recorder.instruments = (self._asleep,)
        self._recorder.forget_activity_callback(self._wake)
        self._recorder.on_activity(self._wake)
        self._readers.listen_again()

    def _wake(self) -> None:
        """Give a forked child, at its first record, readers that count from there.

        metertap's own provider is made again, since the counts of the SDK are the parent's. The
        application's provider gets new readers of ours; its own readers are the application's
        concern.
        """
        with self._lock:
            kept, self._asleep = self._asleep, None
            try:
                if kept is not None:
                    self._awake(kept)
            except Exception:
                raise
            except BaseException:  # an interrupt: the next record tries again
                self._asleep = kept
                if kept is not None:
                    self._recorder.instruments = (kept,)
                raise
            self._recorder.forget_activity_callback(self._wake)

    def _awake(self, kept: Journal) -> None:
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
        self._observe_process()
        self.check()  # the application may have set a provider meanwhile

    # What the views, the doctor and the announcement ask

    @property
    def json(self) -> JsonSnapshot | None:
        """The JSON view, if there is one."""
        return self._readers.json

    @property
    def prometheus(self) -> PrometheusExporter | None:
        """The Prometheus view, if there is one."""
        return self._readers.prometheus

    def mounted(self) -> Mounted:
        """Return the views that an application of the program is to serve."""
        with self._lock:
            return self._readers.mounted()

    @property
    def otlp_problem(self) -> str | None:
        """Why OTLP, though configured, is not exported, or why its last export did not arrive."""
        otlp = self._readers.otlp
        return self._readers.otlp_problem if otlp is None else otlp.delivery.problem

    @property
    def pushes(self) -> bool:
        """Whether data could be lost at the end: the process pushes, or leaves data to others."""
        return self._readers.otlp is not None or self._readers.workers.has_others()

    @property
    def workers_key(self) -> str | None:
        """The key of the workers that this process shares an address with, if it shares one."""
        return self._readers.workers.service

    def service(self) -> dict[str, str]:
        """Return the program's identity: that of its provider, unless the provider has no name."""
        found = resource.identity(self._settings)
        if self.owned is None and self.provider is not None:
            theirs = sdk.resource_of(self.provider)
            if not str(theirs.get("service.name", "unknown_service")).startswith("unknown_service"):
                keys = ("service.name", "service.version", "service.instance.id")
                found = {key: str(theirs[key]) for key in keys if key in theirs}
        return resource.shortened(found)

    def where_prometheus_is(self) -> str | None:
        """Return advice for a Prometheus that scrapes the JSON endpoint, if one does."""
        return self._readers.where_prometheus_is()

    def readers(self) -> list[tuple[str, bool]]:
        """List the readers in force: their class, and whether they are ours."""
        return self._readers.described()

    def recording_paths(self) -> list[str]:
        """Return how records reach the SDK, for each provider recorded to."""
        instruments = self._recorder.instruments
        return [item.path for item in instruments if isinstance(item, OtelInstruments)]

    def stood_back(self) -> list[str]:
        """Return what is left to other instrumentations, for each provider recorded to."""
        instruments = self._recorder.instruments
        found = (item.stood_back for item in instruments if isinstance(item, OtelInstruments))
        return [reason for reason in found if reason is not None]

    # Providers

    def _make_own(self, application: MeterProvider | None = None) -> None:
        """Record to a provider of our own, and to the application's if that takes no readers."""
        own = OwnProvider(resource.resource(self._settings))
        self.owned = own
        self.provider = own if application is None else application
        self._readers.equip(own)  # first: a provider keeps nothing for readers added later
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
            self._host.note("the provider in force is disabled: only the JSON view has data")
        self.provider = provider
        self._readers.equip(provider)
        self._record_to(instruments_of(provider))

    def _take_over(self, handover: Handover) -> None:
        with self._recorder.lock:
            self._recorder.fold()
            for instruments in self._recorder.instruments:
                if isinstance(instruments, OtelInstruments):
                    handover.give(instruments)
            if self._journal is not None and handover.journal is not None:
                handover.journal.replay(self._journal)

    def _move(self, provider: MeterProvider) -> None:
        """Move from our own provider to the one that the application has just set."""
        with self._lock:
            journal, own = self._journal, self.owned
            # After a shutdown that failed there is still a journal, but nothing records to it.
            if journal is None or own is None or journal not in self._recorder.instruments:
                return
            self._journal = None
            self.provider = provider
            ours, theirs = instruments_of(own), instruments_of(provider)
            if not sdk.takes_readers(provider):
                self._note_takes_no_readers(provider)
                self._record_to(ours, theirs, handover=Handover(journal))
                return
            otlp, self._readers.otlp = self._readers.otlp, None
            # What we sent to a collector must not reach it again through the application's
            # provider; durations that were not sent move to that provider.
            delivered = otlp is not None and otlp.delivery.settle(_SETTLE_SECONDS)
            self._readers.leave(but=otlp)
            self.owned = None
            self._readers.equip(provider)
            # Without the recorder's lock: caches have locks of their own, and new names need it.
            handover = Handover(journal, ours.freeze() if delivered else None)
            self._record_to(theirs, handover=handover)
            if delivered or journal.overflowed:
                self._host.note("the provider was set late: its histograms begin there")
            if otlp is not None:
                with faults.guarded("pipeline.move"):
                    otlp.shutdown(timeout_millis=FLUSH_MILLISECONDS if delivered else 0)
                with faults.guarded("pipeline.move"):
                    sdk.detach(own, otlp)
            ours.close()

    def _record_to(
        self, *instruments: OtelInstruments | Journal, handover: Handover | None = None
    ) -> None:
        """Record to these from now on; the last one begins with the contents of `handover`."""

        def begin() -> None:
            for item in instruments:
                if isinstance(item, OtelInstruments):
                    item.open(self._recorder)
            if handover is not None and isinstance(last := instruments[-1], OtelInstruments):
                handover.give(last)

        self._recorder.switch(instruments, begin)

    def _observe_process(self) -> None:
        # Without the recorder's lock: a collection holds the SDK's lock, and may wait for that one.
        with faults.guarded("process_metrics"), self._lock:
            self.process_metrics.observe(self.owned, self.provider)

    def _note_takes_no_readers(self, provider: MeterProvider) -> None:
        described = f"{type(provider).__module__}.{type(provider).__qualname__}"
        self._host.note(f"{described} takes no readers: ours have a provider of their own")
