"""Wrappers of functions that stand around model clients: what these ask inside knows of them.

`begin` of the measure gives the layer to be in, or None, and with it whatever the rest needs. The
layer is taken away whatever happens, a fault of ours included: one that stayed would keep
every later call of the thread from being counted. So no function of ours does that.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.costs.model_calls import outer
from metertap.measuring.wrappers import Measure
from metertap.patching.targets import WrapperFunction

_PLACE = "model layer"


def plain(measure: Measure) -> WrapperFunction:
    """Return what wrapt is to call instead of a function around clients."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        begun = token = None
        try:
            begun = measure.begin(instance, args, kwargs)
            token = None if begun is None else outer.set(begun[0])
        except Exception as fault:
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
    """Return what wrapt is to call instead of an async function around clients."""

    async def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        begun = token = None
        try:
            begun = measure.begin(instance, args, kwargs)
            token = None if begun is None else outer.set(begun[0])
        except Exception as fault:
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
