"""Facts about the process that views show and the recorder does not know."""

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
        """Return the program's identity: `name`, `instance_id` and, if known, `version`."""

    def diagnosis(self) -> Mapping[str, Any]:
        """Return what `metertap doctor` shows."""

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return alerts that are pending or firing; None if none are configured."""

    def where_prometheus_is(self) -> str | None:
        """Return advice for a Prometheus that scrapes the JSON endpoint; None without any."""

    def opens_at_once(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` is to listen before the first measurement."""

    def settled(self, endpoint: Endpoint) -> None:
        """Note that `endpoint` listens now, or cannot."""

    def note(self, text: str) -> None:
        """Keep a decision for `metertap doctor`."""


class NoHost:
    """The host of a view that the SDK made by name, before `instrument()` is called."""

    def service(self) -> Mapping[str, str]:
        """Return the program's identity."""
        return resource.short_identity(state.settings())

    def diagnosis(self) -> Mapping[str, Any]:
        """Return nothing: nothing is installed."""
        return {}

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return None: no alerts are evaluated."""
        return None

    def where_prometheus_is(self) -> str | None:
        """Return None: no other endpoint is known."""
        return None

    def opens_at_once(self, endpoint: Endpoint) -> bool:
        """Return False: the later host decides."""
        return False

    def settled(self, endpoint: Endpoint) -> None:
        """Do nothing: the process is not listed."""

    def note(self, text: str) -> None:
        """Do nothing: there is no diagnosis to show it."""
