"""Other instrumentations that record the same metrics to the same provider.

An instrumentation that is switched off leaves its instruments with the provider. OpenTelemetry's
instrumentors tell whether they are on. Some say that they are off and still record, because their
wrappers stay in place; so these are looked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from functools import partial
from typing import Any

from metertap import catalogue, faults
from metertap.variables import variables_of

_NAME = re.compile(r"[\w.-]+")
_leaves_wrapped: dict[type, bool] = {}
"""Whether instrumentors that are switched off have left wrappers."""


def recording(provider: object, names: Collection[str]) -> str | None:
    """Return the name of another meter that has an instrument of one of these names.

    None if the SDK does not show its meters.
    """
    inner = getattr(provider, "provider", provider)  # a proxy, as logfire has, shows the SDK's
    meters = getattr(inner, "_meters", None)
    for scope, meter in list(meters.items()) if isinstance(meters, dict) else ():
        registered = getattr(meter, "_instrument_ids", {})  # "name,kind,unit,description"
        if (
            scope.name != catalogue.SCOPE
            and any(str(key).partition(",")[0] in names for key in list(registered))
            and not has_ended(str(scope.name))
        ):
            return str(scope.name)
    return None


def has_ended(scope: str) -> bool:
    """Return whether the instrumentation with this meter does not record any more."""
    for kind in _instrumentors():
        if not f"{scope}.".startswith(f"{kind.__module__}."):
            continue
        made = getattr(kind, "_instance", None)
        if made is None or getattr(made, "_is_instrumented_by_opentelemetry", True):
            _leaves_wrapped.pop(kind, None)
            return False
        if kind not in _leaves_wrapped:
            _leaves_wrapped[kind] = faults.kept("models.others", partial(_leaves, kind, made), True)
        return not _leaves_wrapped[kind]
    return False


def _instrumentors() -> list[type]:
    module = sys.modules.get("opentelemetry.instrumentation.instrumentor")
    base = getattr(module, "BaseInstrumentor", None)
    return [] if base is None else base.__subclasses__()


def _leaves(kind: type, instrumentor: Any) -> bool:
    """Return whether one of the methods that it measures is still wrapped by its code."""
    needed = (_NAME.match(item) for item in instrumentor.instrumentation_dependencies())
    packages = tuple(f"{found[0].replace('-', '.')}." for found in needed if found)
    for name, module in list(sys.modules.items()):
        if f"{name}.".startswith(packages):
            for value in list((variables_of(module) or {}).values()):
                # Not isinstance: it would load modules that openai loads on first use.
                if issubclass(type(value), type) and any(
                    _is_by(kind, method) for method in list(vars(value).values())
                ):
                    return True
    return False


def _is_by(kind: type, method: Any) -> bool:
    wrapper = method._self_wrapper if hasattr(type(method), "_self_wrapper") else None
    return f"{getattr(wrapper, '__module__', '')}.".startswith(f"{kind.__module__}.")
