"""The cheapest count of a lookup `get(key, default)`: a function written for one method.

It has the method's own parameters, as in `patching.shell`, and makes no object for a lookup. Other
cases, such as a layer above that counts, are passed on to the general function of
`caching.adapter`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.caching.adapter import NOTHING
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.measuring.calls import current
from metertap.patching.parameters import canonical, shaped, written
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

_SOURCE = """
{kind} call({parameters}):
    try:
        if {unless}_layer() or not _live:
            return _otherwise({arguments})
        _found = _method({with_ours})
    except BaseException as _error:
        _hide(_error)
        raise
    try:
        try:
            _meter = _meters[_id({first})]
        except KeyError:
            _meter = _meter_of({first})
        if _found is _nothing:
            if _current() is None:
                for _ in _meter._misses_outside:
                    return {default}
            _meter.miss()
        else:
            if _current() is None:
                for _ in _meter._hits_outside:
                    return _found
            _meter.hit()
    except Exception as _error:
        _fault(_library, _error)
    return {default} if _found is _nothing else _found
"""


def gets(
    method: Callable[..., Any],
    live: Live,
    meters: ObjectMeters,
    otherwise: Make,
    *,
    meter_of: Callable[[Any], ObjectMeter],
    nothing: Any = NOTHING,
    asking: Callable[[], object] | None = None,
    unless: frozenset[str] = frozenset(),
) -> Callable[..., Any]:
    """Count a method of the library's own code that returns `nothing` if there is no entry.

    Its parameter `default`, if it has one, gets `nothing` in place of the caller's. The method must
    make no other lookups. While `asking` returns something, and when a parameter in `unless` is
    true, the function that `otherwise` makes runs instead.
    """
    names = {name: ours for ours, name in canonical(method).items()}
    arguments = written(method)["arguments"].split(", ")
    questions = [names[name] for name in sorted(unless) if name in names]
    if asking is not None:
        questions.append("_metertap_asking() is not None")
    default = names.get("default", "_metertap_nothing")
    places = {
        "with_ours": ", ".join("_metertap_nothing" if it == default else it for it in arguments),
        "default": default,
        "unless": "".join(f"{question} or " for question in questions),
    }
    return shaped(
        method,
        _SOURCE,
        places,
        asking=asking,
        current=current.get,
        fault=faults.fault,
        hide=hide_frame,
        id=id,
        layer=layer.get,
        library=meters.system,
        live=live,
        meter_of=meter_of,
        meters=meters.known,
        nothing=nothing,
        otherwise=otherwise(method, live),
    )
