"""Wrappers of functions around model clients, which mark a layer for the clients inside.

`begin` of the measure returns the layer and what its other methods need, or None. The layer is
removed whatever happens, including a fault of ours and an interrupt: one that stayed would keep all
later calls of the thread from being counted. So no function of ours is called to remove it.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.costs.model_calls import outer
from metertap.measuring.wrappers import Measure
from metertap.patching.targets import WrapperFunction

_PLACE = "model layer"


def plain(measure: Measure) -> WrapperFunction:
    """Return wrapt's wrapper for a plain function around clients."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        begun = token = None
        try:
            begun = measure.begin(instance, args, kwargs)
            token = None if begun is None else outer.set(begun[0])
        except BaseException as fault:
            if begun is not None:  # it may have been set
                begun[0].is_over = True
            faults.fault(_PLACE, fault)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            with faults.guarded(_PLACE):
                measure.raised(begun, error)
            raise
        finally:
            if begun is not None and token is not None:
                begun[0].is_over = True
                outer.reset(token)
        if begun is not None:
            try:
                measure.ended(begun, result)
            except Exception as fault:
                faults.fault(_PLACE, fault)
        return result

    return call


def coroutine(measure: Measure) -> WrapperFunction:
    """Return wrapt's wrapper for an async function around clients."""

    async def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        begun = token = None
        try:
            begun = measure.begin(instance, args, kwargs)
            token = None if begun is None else outer.set(begun[0])
        except BaseException as fault:
            if begun is not None:  # it may have been set
                begun[0].is_over = True
            faults.fault(_PLACE, fault)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            with faults.guarded(_PLACE):
                measure.raised(begun, error)
            raise
        finally:
            if begun is not None and token is not None:
                begun[0].is_over = True
                try:
                    outer.reset(token)
                except ValueError:  # it is closed in another context
                    pass
        if begun is not None:
            try:
                measure.ended(begun, result)
            except Exception as fault:
                faults.fault(_PLACE, fault)
        return result

    return call
