"""Facts about the process that views show and no recorder knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from metertap import state
from metertap.otel import resource

if TYPE_CHECKING:
    from metertap_exporters.http.endpoint import Endpoint


class Host(Protocol):
    """The measured process. All methods may be called from any thread."""

    def service(self) -> Mapping[str, str]:
        """Return the program's identity: `name`, `instance_id` and, where known, `version`."""

    def diagnosis(self) -> Mapping[str, Any]:
        """Return what `metertap doctor` shows."""

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return the alerts that are pending or firing; None where none are configured."""

    def where_prometheus_is(self) -> str | None:
        """Return advice for a Prometheus that scrapes the JSON endpoint; None without any."""

    def opens_at_once(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` is to listen before anything is measured."""

    def settled(self, endpoint: Endpoint) -> None:
        """Note that `endpoint` listens now, or cannot."""

    def note(self, text: str) -> None:
        """Keep a decision that `metertap doctor` shows."""


class NoHost:
    """The process as a view sees it that the SDK made by name, before `instrument()` is called."""

    def service(self) -> Mapping[str, str]:
        """Return the program's identity."""
        return resource.short_identity(state.settings())

    def diagnosis(self) -> Mapping[str, Any]:
        """Return nothing: nothing is installed."""
        return {}

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return None: nobody evaluates alerts."""
        return None

    def where_prometheus_is(self) -> str | None:
        """Return None: no other endpoint is known."""
        return None

    def opens_at_once(self, endpoint: Endpoint) -> bool:
        """Return False: the host that comes says so."""
        return False

    def settled(self, endpoint: Endpoint) -> None:
        """Do nothing: the process is not listed."""

    def note(self, text: str) -> None:
        """Do nothing: there is no diagnosis to show it."""
