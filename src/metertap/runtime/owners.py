"""The owners that have this process measured (application and libraries), on one installation."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from metertap import faults, locks, state
from metertap.history import forks
from metertap.otel import resource
from metertap.runtime import keywords
from metertap.runtime.callers import Caller
from metertap.runtime.installation import Installation
from metertap.settings import settings

T = TypeVar("T")  # a tap
_FORK_WAITS_SECONDS = 1.0


class Owners(Generic[T]):
    """The owners that have this process measured, and the caller whose settings are in force."""

    def __init__(self) -> None:
        self.lock = locks.rlock()
        """Held by callers of `install` and `end`."""
        self.installation: Installation | None = None
        self.taps: dict[str, T] = {}
        """Taps by owner. The end of the last one ends the installation."""
        self.decider = Caller("", ("", 0))
        """The caller of `instrument()` that decided the settings."""
        self.asked: Mapping[str, Any] = {}
        """The keywords of that call."""
        self._fork = threading.local()

    def install(
        self, caller: Caller, asked: Mapping[str, Any], environ: Mapping[str, str] | None
    ) -> tuple[Installation, bool]:
        """Return the installation in force, and whether `asked` differ from its settings.

        It is made, or replaced with other settings, if the caller may decide them.
        """
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
        return self.installation, is_apart

    def end(self, owner: str) -> None:
        """Forget the tap of `owner`; after the last one, end the installation."""
        del self.taps[owner]
        installation = self.installation
        if not self.taps and installation is not None:
            self.installation = None
            with faults.guarded("shutdown"):
                state.stop()
            with faults.guarded("shutdown"):
                installation.shutdown()

    def before_fork(self) -> None:
        """Wait for threads that instrument or shut down: a child would inherit half of that."""
        # The wait may be interrupted, and the last fork's notes must not stand then.
        self._fork.waited, self._fork.installation = False, None
        self._fork.waited = self.lock.acquire(timeout=_FORK_WAITS_SECONDS)
        self._fork.installation = self.installation
        if self._fork.installation is not None:
            self._fork.installation.before_fork(_FORK_WAITS_SECONDS)
        forks.before_fork(_FORK_WAITS_SECONDS)

    def forked_in_parent(self) -> None:
        """Release what `before_fork` waited for."""
        forks.forked_in_parent()
        if self._fork.installation is not None:
            self._fork.installation.forked_in_parent()
        if self._fork.waited:
            self.lock.release()

    def forked(self) -> None:
        """Begin anew in the child, which is measured as its parent is."""
        resource.forked()
        if self.installation is not None:
            self.installation.forked()
        forks.forked()

    def _decide(self, caller: Caller, asked: Mapping[str, Any]) -> None:
        self.decider, self.asked = caller, dict(asked)
