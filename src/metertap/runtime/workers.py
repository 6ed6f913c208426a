"""The workers of this program's service, one of which holds the port and answers for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from metertap import faults, threads
from metertap.otel import resource
from metertap.recording import Recorder
from metertap.runtime import listing
from metertap.settings import program
from metertap.settings.settings import Settings
from metertap.unmocked import unmocked
from metertap.workers.members import first, key

if TYPE_CHECKING:
    from metertap.workers.group import WorkerGroup
    from metertap_exporters.exposition.families import Family
    from metertap_exporters.http.endpoint import Endpoint
    from metertap_exporters.json.foreign import ForeignTool
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.prometheus import PrometheusExporter

_PASSES_SECONDS = 5.0
"""The longest, in seconds, to wait for an ended worker's port, whose lock is free earlier."""


class _Views(Protocol):
    json: JsonSnapshot | None
    prometheus: PrometheusExporter | None
    mounted_prometheus: PrometheusExporter | None


class Workers:
    """The part of this process among the workers of its service, if these share an address."""

    def __init__(self, settings: Settings, recorder: Recorder, views: _Views) -> None:
        self._settings = settings
        self._recorder = recorder
        self._views = views
        self._shared: list[Endpoint] = []
        self.service = _service(settings)
        """The key of the service in names of files; None if no address is shared."""
        self._group = None if self.service is None else self._new_group(self.service)
        self._is_mounted = False

    def _new_group(self, service: str) -> WorkerGroup:
        # Only if there may be several: a single process need not wait for these imports.
        from metertap.workers.group import WorkerGroup
        from metertap.workers.ledger import Ledger
        from metertap.workers.sections import of_process, of_recorder
        from metertap_exporters.exposition import summed
        from metertap_exporters.json import foreign, system

        ledger = Ledger(
            self._recorder,
            [
                *of_recorder(self._recorder),
                of_process(system.taken),
                foreign.section(self._foreign),
                summed.section(self._families),
            ],
        )
        return WorkerGroup(service, ledger, self._instance, self._take_place)

    def share(self, view: JsonSnapshot | PrometheusExporter) -> None:
        """Share the view's address: one worker listens there and answers for the others."""
        if self._group is not None and view.endpoint.is_shared:
            view.group = self._group
            view.endpoint.may_bind = self._group.join
            view.endpoint.kept_port = self._group.kept_port
            view.endpoint.keep_port = self._group.keep_port
            view.endpoint.patience_seconds = _PASSES_SECONDS
            if view.endpoint not in self._shared:
                self._shared.append(view.endpoint)

    def mount(self, *views: JsonSnapshot | PrometheusExporter) -> None:
        """Have views that the program serves itself show all workers, whichever of them answers."""
        if self._group is None:
            self._group = self._new_group(_key(self._settings, ("mounted",), is_alone=True))
        for view in views:
            view.group = self._group
        if not self._is_mounted:
            self._is_mounted = True
            self.wait_to_join()

    def wait_to_join(self) -> None:
        """Join the service at the first record, if no endpoint makes this process a worker."""
        if self._is_mounted:
            self._recorder.forget_activity_callback(self._join_soon)
            self._recorder.on_activity(self._join_soon)

    def join(self) -> None:
        """Join the service now, as the program serves the views itself."""
        if self._is_mounted and self._group is not None:
            self._group.join()

    def _join_soon(self) -> None:
        # In a thread, so that the program's call need not wait for the file system.
        threads.Thread(target=self.join, name="metertap-workers-join", daemon=True).start()

    def has_others(self) -> bool:
        """Return whether a worker exists, or may follow, that would miss this one's totals."""
        return self._group is not None and self._group.has_others()

    def tell_last(self, until: float) -> None:
        """Save the last totals for the others, as the process ends.

        Waits for a file system that hangs, but not after `until` by the monotonic clock.
        """
        group = self._group
        if group is not None and (group.has_joined or self._recorder.has_activity):
            listing.briefly(self._guarded(group.tell_last), until - unmocked.monotonic())

    def rest(self, until: float) -> None:
        """Leave the service to processes that this one starts, with what it has counted so far.

        Waits until `until` at most.
        """
        group = self._group
        if group is not None and self._recorder.lifetime(is_bare=True).has_counts:
            listing.briefly(self._guarded(group.rest), until - unmocked.monotonic())
        self.end(until)

    def end(self, until: float) -> None:
        """Leave the service, so that another worker takes the port. Waits until `until` at most."""
        self._recorder.forget_activity_callback(self._join_soon)
        if self._group is not None:
            listing.briefly(self._guarded(self._group.end), until - unmocked.monotonic())
            for endpoint in self._shared:  # one may just have taken a worker's place
                faults.kept("workers.end", endpoint.stop, None)

    def forked(self) -> None:
        """Leave the service in a forked child, until an endpoint opens there."""
        if self._group is not None:
            self._group.forked()

    def _guarded(self, do: Callable[[], None]) -> Callable[[], None]:
        return lambda: faults.kept("workers.end", do, None)

    def _take_place(self) -> None:
        for endpoint in self._shared:
            endpoint.start()

    def _instance(self) -> str:
        return resource.instance_id(self._settings)

    def _foreign(self) -> Iterable[ForeignTool]:
        return () if self._views.json is None else self._views.json.foreign()

    def _families(self) -> Iterable[Family]:
        view = self._views.prometheus or self._views.mounted_prometheus
        return () if view is None else view.collected()


def _service(settings: Settings) -> str | None:
    served = {"json": settings.json_endpoint, "prometheus": settings.prometheus}
    labels = [label for label, is_served in served.items() if is_served]
    if labels:
        from metertap_exporters.http.endpoint import shared_address

        addresses = [address for label in labels if (address := shared_address(settings, label))]
        if addresses:
            return _key(settings, addresses)
    return None


def _key(settings: Settings, addresses: Iterable[str], *, is_alone: bool = False) -> str:
    """Return the key of the service: its name, and the addresses where it answers.

    With `is_alone`, only processes that one process has started belong together.
    """
    given = settings.resource_from_environment
    is_named = settings.service_name or given.get("service.name")
    # Each notebook is a program of its own, also if copies of it have one name.
    is_alone = is_alone or (not is_named and program.is_nameless())
    return key(is_named or program.name(), *addresses, *map(str, first() if is_alone else ()))
