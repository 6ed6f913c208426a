"""The keywords of one call of `instrument()`, compared with the settings in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metertap import faults
from metertap.runtime.callers import Caller
from metertap.settings import settings
from metertap.settings.settings import Settings
from metertap.settings.table import TABLE

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

_PROVIDER = "meter_provider"
_FOR_NEW_KEYWORDS = (
    " (call tap.shutdown() first, or metertap.uninstrument() where other code measures too)"
)


def are_ignored(
    caller: Caller,
    asked: Mapping[str, Any],
    in_force: Settings,
    decided: Mapping[str, Any],
    because: str,
) -> bool:
    """Warn once of keywords of `caller` that have no effect, because another call decided.

    `decided` is that other call. Return whether there are such keywords.
    """
    wanted = settings.read(asked)
    lost = [
        name
        for name, value in asked.items()
        if name in TABLE and getattr(wanted, name) != getattr(in_force, name)
    ]
    provider = asked.get(_PROVIDER)
    if provider is not None and provider is not decided.get(_PROVIDER):
        lost.append(_PROVIDER)
    if lost:
        ignored = ", ".join(lost)
        # A person may try other keywords in the next cell; a library asks for the same each time.
        which = ignored if caller.is_application else ""
        faults.warn_once(
            f"instrument {caller.module} {which}",
            "instrument() was called %s; keywords of the call in %s are ignored: %s%s",
            because,
            caller.module,
            ignored,
            _FOR_NEW_KEYWORDS if caller.is_application else "",
        )
    return bool(lost)


def meter_provider(asked: Mapping[str, Any]) -> MeterProvider | None:
    """Return the meter provider among the keywords; an object of another type is one warning."""
    given = asked.get(_PROVIDER)
    if given is None:
        return None
    from opentelemetry.metrics import MeterProvider

    # Not isinstance, which would ask the object's own `__class__`.
    if issubclass(type(given), MeterProvider):
        provider: MeterProvider = given
        return provider
    faults.warn_once(
        _PROVIDER,
        "meter_provider=%s is no meter provider; the one in force is taken",
        faults.shown(given),
    )
    return None
