"""`PerformanceMetricsCollector`: one object that records by hand and shows what was measured.

Programs that were written against a collector of that name only change one import. It keeps nothing
itself: records go where those of `metertap.record_tool_call` go, and figures are those of the
document. So it works before and without `instrument()`, from any thread, and shows what patches
have measured beside what was recorded by hand.

A record of a call that a patch counts at that moment is left out. A record of a patched cache is an
entry of its own, with the system `manual` (`prompts@manual`). No entry counts a lookup twice, so
the program's own lines may be removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metertap import faults, state
from metertap.caching import cache_meter
from metertap.collector.live_views import LiveCacheMetrics, LiveSystemMetrics, LiveToolMetrics
from metertap.collector.standalone import CacheMetrics, SystemMetrics, ToolMetrics
from metertap.labels import as_label
from metertap.measuring import by_hand
from metertap.recording.recorder import is_count
from metertap.runtime import tap
from metertap.state import recorder

if TYPE_CHECKING:
    from typing_extensions import Self

    from metertap_exporters.json.shape import Document

_collectors: dict[type, Any] = {}


class PerformanceMetricsCollector:
    """The collector of this process: calling the class returns the same object each time.

    If measuring is disabled, it records nothing.
    """

    def __new__(cls) -> Self:
        with faults.guarded("collector"):
            state.is_enabled()  # so that the first timed call need not read the settings
        # setdefault is atomic: threads that come first together get the same object.
        one: Self = _collectors.setdefault(cls, super().__new__(cls))
        return one

    def __reduce__(self) -> Any:
        return type(self), ()  # a copy is the same object

    @classmethod
    def get_instance(cls) -> Self:
        """Return the collector of this process, as calling the class does."""
        return cls()

    def is_enabled(self) -> bool:
        """Return whether anything is recorded."""
        return state.is_enabled()

    # Recording: see the functions of these names in `metertap`.

    record_tool_call = staticmethod(by_hand.record_tool_call)
    record_cache_hit = staticmethod(cache_meter.record_cache_hit)
    record_cache_miss = staticmethod(cache_meter.record_cache_miss)
    record_cache_eviction = staticmethod(cache_meter.record_cache_eviction)
    record_cache_size_rejection = staticmethod(cache_meter.record_cache_size_rejection)

    def set_active_sessions(self, count: int) -> None:
        """Set the number of open sessions. The larger of this and the measured number is shown."""
        if _is_count(count, "set_active_sessions"):
            recorder().sessions_by_hand = count

    def set_concurrent_requests(self, count: int) -> None:
        """Set the number of requests in progress. The larger of this and the measured is shown."""
        if _is_count(count, "set_concurrent_requests"):
            recorder().requests_by_hand = count

    # Views

    @property
    def tool_metrics(self) -> dict[str, ToolMetrics]:
        """The tools that were measured, by the document's names, as live views."""
        from metertap_exporters.json.document import tools_by_name

        tools = tools_by_name(recorder().figures(caches=False).tools)
        return {shown: LiveToolMetrics(tool.name, tool.source) for shown, tool in tools.items()}

    @property
    def cache_metrics(self) -> dict[str, CacheMetrics]:
        """The caches, by the document's names, as live views."""
        from metertap_exporters.json.document import caches_by_name

        caches = caches_by_name(recorder().figures().caches)
        return {shown: LiveCacheMetrics(item.name, item.system) for shown, item in caches.items()}

    @property
    def system_metrics(self) -> SystemMetrics:
        """The process, as a live view."""
        return LiveSystemMetrics()

    def get_tool_metrics(self, tool_name: str | None = None) -> dict[str, Any]:
        """Return one tool's statistics, empty if it is unknown; without a name, all by name."""
        return _stats(self.tool_metrics, tool_name)

    def get_cache_metrics(self, cache_name: str | None = None) -> dict[str, Any]:
        """Return one cache's statistics, empty if it is unknown; without a name, all by name."""
        return _stats(self.cache_metrics, cache_name)

    def get_system_metrics(self) -> dict[str, Any]:
        """Return statistics of the process."""
        return self.system_metrics.get_stats()

    def get_all_metrics(self) -> Document:
        """Return the document, as `metertap.get_all_metrics` does."""
        return tap.get_all_metrics()

    def reset_metrics(self) -> None:
        """Set every figure back to zero: see `metertap.reset_metrics`."""
        tap.reset_metrics()

    reset = reset_metrics


def get_collector() -> PerformanceMetricsCollector:
    """Return the collector of this process."""
    return PerformanceMetricsCollector()


def _stats(views: Mapping[str, ToolMetrics | CacheMetrics], name: object) -> dict[str, Any]:
    if name is None:
        return {shown: view.get_stats() for shown, view in views.items()}
    if not isinstance(name, str):  # nothing is recorded under what is no name
        return {}
    view = views.get(name) or views.get(as_label(name))
    return {} if view is None else view.get_stats()


def _is_count(count: object, place: str) -> bool:
    """Return whether `count` is to be recorded: it is a number, and measuring is on."""
    with faults.guarded(place):
        if is_count(count):
            return state.is_enabled()
        faults.warn_once(place, "%s: %s is not a number of them", place, faults.shown(count))
    return False
