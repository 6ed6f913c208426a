"""The tap, which `instrument()` returns, and the life of the installation behind it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from metertap import faults, state
from metertap.otel import resource
from metertap.runtime.callers import Caller, caller_of, is_ours
from metertap.runtime.endings import FLUSH_MILLISECONDS
from metertap.runtime.host import document
from metertap.runtime.installation import Installation
from metertap.runtime.owners import Owners
from metertap.settings.settings import Settings
from metertap.text import printable

if TYPE_CHECKING:
    from typing_extensions import Self

    from metertap.runtime.alert_watch import AlertWatch
    from metertap.runtime.pipeline import Pipeline
    from metertap_exporters.json.shape import Document

_GOES_ON = (
    "measuring goes on for %s, which asked for it too; metertap.uninstrument() ends it for all"
)
_BEGINS_AGAIN = "metertap.instrument() begins again"
_OPERATOR = {
    "metertap.run.hook": "metertap run",
    "metertap.runtime.zero_code": "opentelemetry-instrument",
}
"""Owners that measure a program from outside, and their names for people."""

_owners: Owners[Tap] = Owners()


class Tap:
    """The share of the application, or of one library, in the measuring of this process.

    It may be used as a context manager. There is one installation, whoever asks for it. All calls
    of `instrument()` in the application hold one share, and all calls in a library another.
    `shutdown()` gives a share up, and the last one ends the measuring.

    A tap shows what this process measures. Once nothing does any more, it shows what was recorded
    until then; after another `instrument()`, it shows what is measured again.

    If measuring is disabled, the tap exists, does nothing, and says so in its document.
    """

    def __init__(self, installation: Installation, owner: str) -> None:
        self._begun = installation
        self._owner = owner
        self._places: dict[tuple[str, int], bool] = {}
        """The places that hold the share, and whether each had asked for other settings."""
        self._entered = 0  # `with` blocks that hold it, in place of the line that began them

    @property
    def _installation(self) -> Installation:
        """The installation in force; without one, the one that this tap was made for."""
        return _owners.installation or self._begun

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._installation.settings

    @property
    def pipeline(self) -> Pipeline:
        """The target of records; not for programs."""
        return self._installation.pipeline

    @property
    def watch(self) -> AlertWatch | None:
        """The evaluation of alerts, if any are configured; not for programs."""
        return self._installation.watch

    @property
    def is_active(self) -> bool:
        """Whether anything is patched and recorded."""
        return self._installation.is_active

    @property
    def json_url(self) -> str | None:
        """Address of the JSON endpoint; None while it does not listen."""
        return self._installation.json_url

    @property
    def prometheus_url(self) -> str | None:
        """Address of the Prometheus endpoint; None while it does not listen."""
        return self._installation.prometheus_url

    def snapshot(self) -> Document:
        """Return the JSON document that `GET :9109/metrics` serves, as it is now."""
        return self._installation.document()

    def alerts(self) -> list[dict[str, Any]] | None:
        """Return alerts that are pending, firing or just resolved; None if none are configured."""
        return faults.kept("alerts", self._installation.alerts, None)

    def diagnosis(self) -> dict[str, Any]:
        """Return what `doctor` shows: patches, missing ones and why, and the targets of records."""
        return faults.kept("diagnosis", self._installation.diagnosis, {})

    def flush(self, timeout_milliseconds: float = FLUSH_MILLISECONDS) -> None:
        """Push what was measured to the collector now, if there is one. Never raises."""
        with faults.guarded("flush"):
            self._installation.flush(timeout_milliseconds)

    def shutdown(self) -> None:
        """Undo everything, unless a library has this process measured too. Never raises.

        The rest is pushed, the endpoints close and every patch is undone. Nothing is recorded until
        the next `instrument()`. What was recorded stays.

        If a library called `instrument()` too, measuring goes on, and one warning names that
        library; `metertap.uninstrument()` ends it for all. A call of the application whose settings
        were ignored holds the share too, until a `shutdown()` of its own.
        """
        with _owners.lock, faults.guarded("shutdown"):
            shared = [place for place, is_apart in self._places.items() if not is_apart]
            if shared or self._entered:
                for place in shared:
                    del self._places[place]
                self._entered = 0
            elif self._places:
                self._places.popitem()
            else:
                return
            self._released()

    def __repr__(self) -> str:
        """Return a line that says what is measured, and where it is shown; or why nothing is."""
        with faults.guarded("repr"):
            from metertap.runtime import shown

            return shown.line(self._installation, self._off())
        return "<metertap.Tap>"

    def _repr_html_(self) -> str:
        """Return tools, caches and further figures as HTML tables, as notebooks show them."""
        with faults.guarded("notebook"):
            from metertap.runtime import shown

            return shown.tables(self._installation, self._off())
        return "<div></div>"

    def _off(self) -> str:
        """Return why nothing is measured; empty while it is."""
        if not self.settings.enabled:
            return f"off: {self.settings.disabled_because}"
        if self._owner in _owners.taps:  # maybe by another tap, made after this one was shut down
            return ""
        holders = _holders() if self.is_active else ""
        return f"shut down; {_GOES_ON % holders if holders else _BEGINS_AGAIN}"

    @property
    def _holder(self) -> str:
        """The name of this share's owner."""
        if self._owner:
            return _OPERATOR.get(self._owner, self._owner)
        others = [f"{file}:{line}" for (file, line), is_apart in self._places.items() if is_apart]
        return printable(others[-1]) if others else "the application"

    def _released(self) -> None:
        """End the share if nothing holds it, and name the others that have the process measured."""
        if not self._places and not self._entered:
            self._end()
        # An operator that has the process measured is no news, and not the program's to stop.
        if not self._owner and not all(map(is_ours, _owners.taps)):
            holders = _holders()
            faults.warn_once(f"held {holders}", _GOES_ON, holders)

    def _end(self) -> None:
        if _owners.taps.get(self._owner) is self:
            _owners.end(self._owner)

    def _give_up(self) -> None:
        """Give up the owner's whole share. With the lock held."""
        self._places.clear()
        self._entered = 0
        self._end()

    def __enter__(self) -> Self:
        with _owners.lock:
            if self._places:
                self._places.popitem()
            self._entered += 1
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with _owners.lock, faults.guarded("shutdown"):
            if self._entered:
                self._entered -= 1
                if not self._entered and not self._places:
                    self._released()


def hold(caller: Caller, asked: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Tap:
    """Return the tap of the caller's owner; `asked` are the keywords of the call.

    `environ`, if given, has the settings in place of the environment.
    """
    with _owners.lock:
        begun, is_apart = _owners.install(caller, asked, environ)
        owner = caller.owner
        if owner not in _owners.taps:
            _owners.taps[owner] = Tap(begun, owner)
        tap = _owners.taps[owner]
        tap._places[caller.place] = is_apart and not owner
        return tap


def _holders() -> str:
    """Name the owners that have this process measured."""
    return ", ".join(tap._holder for tap in list(_owners.taps.values()))


def active_tap() -> Tap | None:
    """Return a tap that is in force, if there is one."""
    return next(iter(list(_owners.taps.values())), None)


def installation() -> Installation | None:
    """Return the installation that is in force, if there is one."""
    return _owners.installation


def uninstrument() -> None:
    """End the measuring, whoever asked for it, and restore every patched attribute.

    Called by a library, it gives up only that library's share, if it has one.
    """
    with faults.guarded("uninstrument"):
        caller = caller_of(sys._getframe(1))
        with _owners.lock:
            own = _owners.taps.get(caller.owner) if caller.owner else None
            if own is not None:
                own._give_up()
            elif caller.is_ours or not caller.owner:
                _end_all()


def _end_all() -> None:
    with _owners.lock:
        for tap in list(_owners.taps.values()):
            tap._give_up()


def reset() -> None:
    """End the measuring, and forget everything recorded and every setting read. For tests."""
    _end_all()
    state.reset()


def reset_metrics() -> None:
    """Set every figure of the document back to zero, while measuring goes on.

    Patches, endpoints and names stay. Calls in progress stay so, and count when they end. Exported
    counters go on as well, since they are cumulative and never go back; only the windows of
    percentiles begin again in both. Estimates of what other instrumentations measured are not
    reset.
    """
    with faults.guarded("reset_metrics"):
        if state.is_enabled():
            state.recorder().start_over()


def get_all_metrics() -> Document:
    """Return the JSON document as it is now, also without an active tap."""
    installation = _owners.installation
    if installation is not None:
        return installation.document()
    given = faults.kept("settings", state.settings, Settings())
    return document(given, lambda: resource.short_identity(given))


state.on_fork(before=_owners.before_fork, parent=_owners.forked_in_parent, child=_owners.forked)
