"""The cheapest count of a lookup `get(key, default)`: a function written for the method.

It has the method's own parameters, as in `patching.shell`, and makes no object for a lookup. What
is not the plain case (a layer above that counts, say) is passed to the general function, which
`caching.adapter` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from metertap import faults
from metertap.caching.adapter import NOTHING
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.measuring.calls import current
from metertap.patching.shell import written
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

_SOURCE = """
def call({parameters}):
    try:
        if {unless}_metertap_layer() is not None or not _metertap_live:
            return _metertap_otherwise({arguments})
        _metertap_found = _metertap_method({with_ours})
    except BaseException as _metertap_error:
        _metertap_hide(_metertap_error)
        raise
    try:
        try:
            _metertap_meter = _metertap_meters[id({cache})]
        except KeyError:
            _metertap_meter = _metertap_meter_of({cache})
        if _metertap_found is _metertap_nothing:
            if _metertap_current() is None:
                for _ in _metertap_meter._misses_outside:
                    return {default}
            _metertap_meter.miss()
        else:
            if _metertap_current() is None:
                for _ in _metertap_meter._hits_outside:
                    return _metertap_found
            _metertap_meter.hit()
    except Exception as _metertap_error:
        _metertap_fault(_metertap_library, _metertap_error)
    return {default} if _metertap_found is _metertap_nothing else _metertap_found
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
    """Count a method of a library's own code that returns `nothing` where there is no entry.

    Its parameter `default`, if it has one, gets that in place of the caller's. It must look up
    nothing else. While `asking` gives anything, and where a parameter in `unless` is true, the
    function that `otherwise` makes runs.
    """
    function = cast(FunctionType, method)
    parameters, passed = written(function)
    arguments = passed.split(", ")
    names: dict[str, Any] = {
        "__name__": __name__,
        "_metertap_asking": asking,
        "_metertap_current": current.get,
        "_metertap_fault": faults.fault,
        "_metertap_hide": hide_frame,
        "_metertap_layer": layer.get,
        "_metertap_library": meters.system,
        "_metertap_live": live,
        "_metertap_meter_of": meter_of,
        "_metertap_meters": meters.known,
        "_metertap_method": method,
        "_metertap_nothing": nothing,
        "_metertap_otherwise": otherwise(method, live),
    }
    questions = [name for name in arguments if name in unless]
    if asking is not None:
        questions.append("_metertap_asking() is not None")
    source = _SOURCE.format(
        parameters=parameters,
        arguments=passed,
        with_ours=", ".join(
            "_metertap_nothing" if name == "default" else name for name in arguments
        ),
        default="default" if "default" in arguments else "_metertap_nothing",
        cache=arguments[0],
        unless="".join(f"{question} or " for question in questions),
    )
    exec(compile(source, "<metertap>", "exec"), names)  # noqa: S102  # of names of parameters
    made: FunctionType = names["call"]
    made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return made
