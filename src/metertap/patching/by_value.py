"""Pickling by value, as cloudpickle does with what another process cannot import.

It sends the code of a function and all that this refers to. Of a stand-in that would be parts of
metertap: some that cannot be pickled, and, from wrapt's proxies, the bare function alone.
"""

from __future__ import annotations

import copyreg
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

_OURS = frozenset({"metertap", "metertap_instrumentation"})
_IS_BY_NAME = "_should_pickle_by_reference"
"""cloudpickle's function that chooses between both, in the copies that ray and joblib have, too."""
_asked = threading.local()


def shown_class(wrapper: Any) -> Any:
    """Return the class that a wrapt proxy shows: that of what it stands for, save to cloudpickle.

    cloudpickle takes apart what shows the class of functions. Where it is about to do that, it is
    shown the proxy's own class, and so it asks the proxy to reduce itself. It is known by a private
    function of its own; one without that sends the bare function, which is not measured.
    """
    shown = wrapper.__wrapped__.__class__
    asking = sys._getframe(1)
    if asking.f_code.co_name == "reducer_override" and shown is not MethodType:
        try:
            is_by_name = asking.f_globals[_IS_BY_NAME]
            if not (shown is FunctionType and is_by_name(wrapper)):
                _asked.wrapper = wrapper
                return type(wrapper)
        except Exception:  # noqa: S110  # another pickler's, or it is asked in another way by now
            pass
    return shown


def is_by_value(wrapper: Any) -> bool:
    """Return whether `wrapper`, which is to reduce itself, is pickled by value this time."""
    return vars(_asked).pop("wrapper", None) is wrapper


def sent(module: str, attribute: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls the `attribute` of `module` in the process that it is sent to.

    Where metertap is not installed it calls `otherwise`. Both have to be defined inside another
    function: that cannot be found by its name, so cloudpickle sends its code.
    """

    def arrive(*arguments: Any) -> Any:
        try:
            found = getattr(__import__(module, fromlist=[attribute]), attribute)
        except Exception:
            return otherwise(*arguments)
        return found(*arguments)

    return arrive


def variable_at(module: str, attribute: str) -> Any:
    """Return the context variable of metertap's that has this place."""
    return getattr(import_module(module), attribute)


def _empty() -> Callable[..., Any]:
    def variable(_module: str, attribute: str) -> ContextVar[Any]:
        from contextvars import ContextVar

        return ContextVar(attribute, default=None)

    return variable


_SENT = sent(__name__, "variable_at", _empty())
"""Finds the variable in another process; without metertap there it is one that nobody sets."""


def _reduce_variable(variable: ContextVar[Any]) -> Any:
    """Reduce a context variable of metertap's to its place; no other one can be pickled."""
    for name, module in sys.modules.copy().items():
        if name.partition(".")[0] in _OURS:
            for attribute, value in list(vars(module).items()):
                if value is variable:
                    return _SENT, (name, attribute)
    return variable.__reduce_ex__(2)


if ContextVar not in copyreg.dispatch_table:
    copyreg.pickle(ContextVar, _reduce_variable)
