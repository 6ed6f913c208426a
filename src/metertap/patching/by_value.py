"""Pickling by value, as cloudpickle does with objects that another process cannot import.

cloudpickle sends a function's code and everything that this refers to. For a stand-in these would
be parts of metertap: some cannot be pickled, and wrapt's proxies would become the bare function.
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
"""cloudpickle's function that decides how to pickle; ray's and joblib's copies have it, too."""
_asked = threading.local()


def shown_class(wrapper: Any) -> Any:
    """Return the class that a wrapt proxy shows: the wrapped object's, except to cloudpickle.

    cloudpickle takes objects apart that show the class of functions. When it is about to do so, it
    is shown the proxy's own class, and so asks the proxy to reduce itself. It is recognised by a
    private function; a pickler without that sends the bare function, which is not measured.
    """
    shown = wrapper.__wrapped__.__class__
    asking = sys._getframe(1)
    if asking.f_code.co_name == "reducer_override" and shown is not MethodType:
        try:
            is_by_name = asking.f_globals[_IS_BY_NAME]
            if not (shown is FunctionType and is_by_name(wrapper)):
                _asked.wrapper = wrapper
                return type(wrapper)
        except Exception:  # noqa: S110  # another pickler, or a version that asks in another way
            pass
    return shown


def is_by_value(wrapper: Any) -> bool:
    """Return whether `wrapper`, which is asked to reduce itself, is being pickled by value."""
    return vars(_asked).pop("wrapper", None) is wrapper


def sent(module: str, attribute: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `attribute` of `module` in the process that unpickles it.

    If metertap is not installed there, it calls `otherwise`. Both functions must be defined inside
    another one: then they cannot be found by name, and cloudpickle sends their code.
    """

    def arrive(*arguments: Any) -> Any:
        try:
            found = getattr(__import__(module, fromlist=[attribute]), attribute)
        except Exception:
            return otherwise(*arguments)
        return found(*arguments)

    return arrive


def variable_at(module: str, attribute: str) -> Any:
    """Return metertap's context variable of that name."""
    return getattr(import_module(module), attribute)


def _empty() -> Callable[..., Any]:
    def variable(_module: str, attribute: str) -> ContextVar[Any]:
        from contextvars import ContextVar

        return ContextVar(attribute, default=None)

    return variable


_SENT = sent(__name__, "variable_at", _empty())
"""Finds the variable in another process; without metertap there, a variable that is never set."""


def _reduce_variable(variable: ContextVar[Any]) -> Any:
    """Reduce a context variable of metertap's to its name; other ones cannot be pickled."""
    for name, module in sys.modules.copy().items():
        if name.partition(".")[0] in _OURS:
            for attribute, value in list(vars(module).items()):
                if value is variable:
                    return _SENT, (name, attribute)
    return variable.__reduce_ex__(2)


if ContextVar not in copyreg.dispatch_table:
    copyreg.pickle(ContextVar, _reduce_variable)
