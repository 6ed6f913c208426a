"""wrapt's function wrapper, which can be kept, copied and pickled like the wrapped function."""

from __future__ import annotations

import copy
import functools
import sys
from operator import itemgetter
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import wrapt

from metertap.patching.by_value import is_by_value, shown_class

# Generic in wrapt's type stubs only, and with a metaclass in its implementation without C only.
if TYPE_CHECKING:
    _CallableObjectProxy = wrapt.CallableObjectProxy[Any]
    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper[..., Any]
    _Type = type
else:
    _CallableObjectProxy = wrapt.CallableObjectProxy
    _FunctionWrapper = wrapt.FunctionWrapper
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper
    _Type = type(wrapt.BoundFunctionWrapper)


def _set_annotations(wrapper: Any, annotations: Any) -> None:
    wrapper.__wrapped__.__annotations__ = annotations


# For each class of wrappers: if a class is asked for its annotations, Python gives it an empty
# dictionary, which would hide those of the wrapped function from then on.
_ANNOTATIONS: Any = property(lambda wrapper: wrapper.__wrapped__.__annotations__, _set_annotations)


def _show(wrapper: Any, cls: Any) -> None:
    wrapper.__wrapped__.__class__ = cls


_CLASS: Any = property(shown_class, _show)


def _repr(wrapper: Any) -> str:
    return repr(wrapper.__wrapped__)


def _again(kind: Any, wrapped: Any, wrapper: Any, holder: Any) -> Any:
    """Make a wrapper again where one that was pickled by value is unpickled."""
    made = kind(wrapped, wrapper)
    if holder is not None:
        made._self_holder = holder
    return made


def _bare(function: Any) -> Any:
    return function


def _of_class(wrapper: Any) -> Any:
    """Return what a class returns for a wrapper among its attributes."""
    return wrapper.__get__(None, object)


class _BoundType(_Type):
    """The metaclass of bound wrappers, which can be called like the type of bound methods.

    `weakref.WeakMethod` makes a method anew by `type(method)(function, instance)`.
    """

    def __call__(cls, function: Any, instance: Any) -> Any:
        """Bind `function` to `instance`, by the wrapper in its class if there is one."""
        owner = instance if isinstance(instance, type) else type(instance)
        for base in owner.__mro__:
            found = vars(base).get(function.__name__)
            if isinstance(found, Wrapper):
                bound = found.__get__(instance, owner)
                if getattr(bound, "__func__", None) is function:
                    return bound
        return MethodType(function, instance)


class _BoundWrapper(_BoundFunctionWrapper, metaclass=_BoundType):
    """A `Wrapper` that was read as an attribute: a bound method, or a class's plain function."""

    __annotations__ = _ANNOTATIONS
    __class__ = _CLASS
    __repr__ = _repr

    def _owner(self) -> Any:
        """Return the object whose attribute this is: an instance, or a class by its name."""
        instance = getattr(self, "__self__", None)
        if instance is not None:
            return instance
        holder = self._self_parent._self_holder
        if holder is not None:
            return holder
        *path, _ = self.__qualname__.split(".")
        return functools.reduce(getattr, path, sys.modules[self.__module__])

    def __reduce_ex__(self, _protocol: Any) -> Any:
        if is_by_value(self) and self._self_parent._self_holder is None:
            return _of_class, (self._self_parent,)
        return getattr, (self._owner(), self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return getattr(copy.deepcopy(self._owner(), memo), self.__name__)


class Wrapper(_FunctionWrapper):
    """wrapt's function wrapper, copied and pickled as the function that it wraps."""

    __annotations__ = _ANNOTATIONS
    __class__ = _CLASS
    __repr__ = _repr

    # Calls the class as wrapt does, past `_BoundType.__call__`, and at wrapt's speed.
    __bound_function_wrapper__ = type.__call__.__get__(_BoundWrapper)
    # Without annotations: those of a class would hide those of the wrapped function.
    _self_holder = cast(Any, None)
    """The class that has this wrapper, if the wrapped function has the name of another class."""

    def __init_subclass__(cls) -> None:
        cls.__annotations__ = _ANNOTATIONS

    def __reduce_ex__(self, _protocol: Any) -> Any:
        if is_by_value(self):
            return self._parts()
        if isinstance(self.__wrapped__, MethodType):  # an attribute of the object itself
            return getattr, (self.__self__, self.__name__)
        imported = self._imported()
        if imported is not None:  # by a name that the receiver can import without metertap
            return itemgetter(0), ((imported,),)
        return self.__qualname__

    def _imported(self) -> Any:
        """Return the object to which its name leads, if the wrapper itself was imported; else None.

        That is the wrapped function, or another stand-in for it, in the function's own module.
        """
        try:
            path = self.__qualname__.split(".")
            found: Any = functools.reduce(getattr, path, sys.modules[self.__module__])
        except (AttributeError, KeyError):
            return None
        function = found.__wrapped__ if type(found) is Wrapper else found
        return found if function is self.__wrapped__ and found is not self else None

    def _parts(self) -> Any:
        """Reduce the wrapper to parts from which another process can make it."""
        if isinstance(self._self_wrapper, MethodType):  # the method of an object of this process
            return _bare, (self.__wrapped__,)
        return _again, (type(self), self.__wrapped__, self._self_wrapper, self._self_holder)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Any:
        return self


class FunctionWrapper(Wrapper):
    """A wrapper of a function without an instance: a class returns the same object each time."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the wrapper itself, as a function does, if the class is asked for it."""
        return self if instance is None else super().__get__(instance, owner)


class MethodWrapper(Wrapper):
    """A wrapper of a class's function: the class returns the same object each time.

    It returns not the wrapper, which could not tell the instance from the other arguments.
    """

    _self_function = cast(Any, None)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind to the instance; return the function if the class is asked."""
        if instance is not None:
            return super().__get__(instance, owner)
        if self._self_function is None:
            self._self_function = super().__get__(None, owner)
        return self._self_function


class CalledProxy(_CallableObjectProxy):
    """A proxy of an object with `__call__` that is no descriptor; it is none either."""

    __annotations__ = _ANNOTATIONS
    __class__ = _CLASS
    __repr__ = _repr

    def __init_subclass__(cls) -> None:
        cls.__annotations__ = _ANNOTATIONS
