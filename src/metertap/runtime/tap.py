"""The tap: what `instrument()` returns, and the life of what stands behind it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from metertap import faults, locks, state
from metertap.history import forks
from metertap.otel import resource
from metertap.runtime import keywords
from metertap.runtime.callers import Caller, caller_of, is_ours
from metertap.runtime.endings import FLUSH_MILLISECONDS
from metertap.runtime.host import document
from metertap.runtime.installation import Installation
from metertap.settings import settings
from metertap.settings.settings import Settings
from metertap.text import printable

if TYPE_CHECKING:
    from typing_extensions import Self

    from metertap.runtime.alert_watch import AlertWatch
    from metertap.runtime.pipeline import Pipeline
    from metertap_exporters.json.shape import Document

_lock = locks.rlock()
_fork = threading.local()
_FORK_WAITS_SECONDS = 1.0
_GOES_ON = (
    "measuring goes on for %s, which asked for it too; metertap.uninstrument() ends it for all"
)
_BEGINS_AGAIN = "metertap.instrument() begins again"
_OPERATOR = {
    "metertap.run.hook": "metertap run",
    "metertap.runtime.zero_code": "opentelemetry-instrument",
}
"""Owners that have a program measured from outside, and what these are called."""

_PAGE_IS_TO_COME = "The live page opens with the first call; show this again for its address."
_PAGE_STARTS = "The live page is starting; show this again for its address."
_PAGE_SECONDS = 1.0
"""The longest that the tables of a notebook wait for the address of a page that is starting."""


class _Owners:
    """The callers that have this process measured, and by whose settings. Needs the lock."""

    def __init__(self) -> None:
        self.installation: Installation | None = None
        self.taps: dict[str, Tap] = {}
        """Taps by owner. The last one that ends, ends the installation."""
        self.decider = Caller("", ("", 0))
        """Whose call of `instrument()` decided the settings."""
        self.asked: Mapping[str, Any] = {}
        """The keywords of that call."""

    def hold(
        self, caller: Caller, asked: Mapping[str, Any], environ: Mapping[str, str] | None
    ) -> Tap:
        """Return the tap of the caller's owner, with an installation by the right settings."""
        provider = keywords.meter_provider(asked)
        owner = caller.owner
        is_apart = False
        if self.installation is None:
            self._decide(caller, asked)
            state.configure(settings.read(asked, environ))
            self.installation = Installation(caller, provider)
            self.installation.start()
        elif not owner and not (owner in self.taps and self.decider.is_application):
            given = settings.read(asked, environ)
            before, asked_before = self.decider, self.asked
            self._decide(caller, asked)
            if not before.is_application:
                because = f"by the application, in {caller.module}"
                keywords.are_ignored(before, asked_before, given, asked, because)
            if provider is not None or not given.is_like(self.installation.settings):
                state.configure(given)
                self.installation.replace(caller, provider)
        elif asked:
            because = f"before, in {self.decider.module}"
            in_force = self.installation.settings
            is_apart = keywords.are_ignored(caller, asked, in_force, self.asked, because)
        tap = self.taps.get(owner)
        if tap is None:
            tap = self.taps[owner] = Tap(self.installation, owner)
        tap._places[caller.place] = is_apart and not owner
        return tap

    def end(self, tap: Tap) -> None:
        """Forget `tap`; the last one takes the installation with it."""
        if self.taps.get(tap._owner) is tap:
            del self.taps[tap._owner]
            installation = self.installation
            if not self.taps and installation is not None:
                self.installation = None
                with faults.guarded("shutdown"):
                    state.stop()
                with faults.guarded("shutdown"):
                    installation.shutdown()

    def holders(self) -> str:
        """Name who has this process measured."""
        return ", ".join(tap._holder for tap in list(self.taps.values()))

    def _decide(self, caller: Caller, asked: Mapping[str, Any]) -> None:
        self.decider, self.asked = caller, dict(asked)


_owners = _Owners()


class Tap:
    """The share of the application, or of one library, in the measuring of this process.

    Use it as a context manager, or not. Everything that measures is there once, whoever asks for
    it. All calls of `instrument()` in the application hold one share, and all calls in a library
    another. `shutdown()` gives up a share, and the last one ends the measuring.

    A tap shows what this process measures: when nothing does any more, what was recorded until
    then; and once anybody calls `instrument()` again, what goes on.

    Where measuring is disabled the tap exists, does nothing, and says so in its document.
    """

    def __init__(self, installation: Installation, owner: str) -> None:
        self._begun = installation
        self._owner = owner
        self._places: dict[tuple[str, int], bool] = {}
        """The places that hold it, and whether each asked for other settings than are in force."""
        self._entered = 0  # blocks that hold it, instead of the place that began them

    @property
    def _installation(self) -> Installation:
        """The installation that is in force; where none is, the one that this tap was made for."""
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
        """Return alerts that are pending or fire, or just resolved; None if none are set up."""
        return faults.kept("alerts", self._installation.alerts, None)

    def diagnosis(self) -> dict[str, Any]:
        """Return what is patched, what is not and why, where records go: what `doctor` shows."""
        return faults.kept("diagnosis", self._installation.diagnosis, {})

    def flush(self, timeout_milliseconds: float = FLUSH_MILLISECONDS) -> None:
        """Push what was measured to the collector now, if one is exported to. Never raises."""
        with faults.guarded("flush"):
            self._installation.flush(timeout_milliseconds)

    def shutdown(self) -> None:
        """Undo everything, unless a library has this process measured too. Never raises.

        What is left is pushed, the endpoints are stopped and every patch is undone, and nothing is
        recorded until the next `instrument()`. What was recorded stays.

        Where a library called `instrument()` too, measuring goes on, and one warning names that
        library; `metertap.uninstrument()` ends it for all. A call of the application whose settings
        were ignored holds it too, until a `shutdown()` of its own.
        """
        with _lock, faults.guarded("shutdown"):
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
        """Return in one line what is measured, and where it is shown; or why nothing is."""
        with faults.guarded("repr"):
            found = self.snapshot()
            tools, caches = len(found["tool_metrics"]), len(found["cache_metrics"])
            where = f"{self.json_url}/ " if self.json_url else ""
            if self._installation.is_starting():
                where = "page is starting, "
            shown = self._off() or (
                f"{where}"
                f"{tools} {'tool' if tools == 1 else 'tools'}, "
                f"{caches} {'cache' if caches == 1 else 'caches'}"
            )
            return f"<metertap.Tap {printable(found['service'].get('name', ''))} {shown}>"
        return "<metertap.Tap>"

    def _repr_html_(self) -> str:
        """Return tools, caches and what else the document has as tables: what notebooks show."""
        with faults.guarded("notebook"):
            from metertap.tables import document, figures, markup

            found, said = self.snapshot(), self._off()
            is_served, tools = self.settings.json_endpoint, found["tool_metrics"]
            page = self._installation.page_within(0 if said else _PAGE_SECONDS)
            if not said and self._installation.is_starting():
                said = _PAGE_STARTS
            elif is_served and not (said or self.json_url or tools):
                said = _PAGE_IS_TO_COME
            tables = figures.tables(cast(document.Document, found))
            return markup.html(tables, said, page and f"{page}/")
        return "<div></div>"

    def _off(self) -> str:
        """Say why nothing is measured; empty while it is."""
        if not self.settings.enabled:
            return f"off: {self.settings.disabled_because}"
        if self._owner in _owners.taps:  # maybe by another tap, after this one was shut down
            return ""
        holders = _owners.holders() if self.is_active else ""
        return f"shut down; {_GOES_ON % holders if holders else _BEGINS_AGAIN}"

    @property
    def _holder(self) -> str:
        """The name of whoever holds this share."""
        if self._owner:
            return _OPERATOR.get(self._owner, self._owner)
        others = [f"{file}:{line}" for (file, line), is_apart in self._places.items() if is_apart]
        return printable(others[-1]) if others else "the application"

    def _released(self) -> None:
        """End the share if nothing holds it, and say who else has this process measured."""
        if not self._places and not self._entered:
            _owners.end(self)
        # That an operator has the process measured is no news, and not the program's to end.
        if not self._owner and not all(map(is_ours, _owners.taps)):
            holders = _owners.holders()
            faults.warn_once(f"held {holders}", _GOES_ON, holders)

    def _give_up(self) -> None:
        """Give up all that the owner holds. With the lock held."""
        self._places.clear()
        self._entered = 0
        _owners.end(self)

    def __enter__(self) -> Self:
        with _lock:
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
        with _lock, faults.guarded("shutdown"):
            if self._entered:
                self._entered -= 1
                if not self._entered and not self._places:
                    self._released()


def hold(caller: Caller, asked: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Tap:
    """Return the tap of the caller's owner; `asked` are the keywords that it gave.

    `environ` has the settings in place of the environment.
    """
    with _lock:
        return _owners.hold(caller, asked, environ)


def active_tap() -> Tap | None:
    """Return a tap that is in force, if there is one."""
    return next(iter(list(_owners.taps.values())), None)


def installation() -> Installation | None:
    """Return the installation that is in force, if there is one."""
    return _owners.installation


def uninstrument() -> None:
    """Shut everything down, whoever asked for it: every patched attribute is what it was.

    Called by a library that instrumented too, it gives up that library's share alone.
    """
    with faults.guarded("uninstrument"):
        caller = caller_of(sys._getframe(1))
        with _lock:
            own = _owners.taps.get(caller.owner)
            if own is not None and own._owner:
                own._give_up()
            else:
                _end_all()


def _end_all() -> None:
    with _lock:
        for tap in list(_owners.taps.values()):
            tap._give_up()


def reset() -> None:
    """Shut down and forget everything recorded and every setting read. For tests."""
    _end_all()
    state.reset()


def reset_metrics() -> None:
    """Let every figure of the document begin again from nothing, while measuring goes on.

    Patches, endpoints and names stay, and what is in progress stays so: it is counted when it ends.
    What is exported goes on as well, since counters are cumulative and never go back; only the
    windows of the percentiles begin again there, too. Estimates of what other instrumentations
    measured are theirs to reset.
    """
    with faults.guarded("reset_metrics"):
        if state.is_enabled():
            state.recorder().start_over()


def get_all_metrics() -> Document:
    """Return the JSON document as it is now, with or without an active tap."""
    installation = _owners.installation
    if installation is not None:
        return installation.document()
    given = faults.kept("settings", state.settings, Settings())
    return document(given, lambda: resource.short_identity(given))


def _before_fork() -> None:
    """Wait for whoever instruments or shuts down: the child would inherit half of it."""
    _fork.waited = _lock.acquire(timeout=_FORK_WAITS_SECONDS)
    _fork.installation = _owners.installation
    if _fork.installation is not None:
        _fork.installation.before_fork(_FORK_WAITS_SECONDS)
    forks.before_fork(_FORK_WAITS_SECONDS)


def _forked_in_parent() -> None:
    forks.forked_in_parent()
    if _fork.installation is not None:
        _fork.installation.forked_in_parent()
    if _fork.waited:
        _lock.release()


def _forked() -> None:
    resource.forked()
    if _owners.installation is not None:
        _owners.installation.forked()
    forks.forked()


state.on_fork(before=_before_fork, parent=_forked_in_parent, child=_forked)
