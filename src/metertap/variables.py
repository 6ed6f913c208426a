"""The variables of modules and objects, read without running code of theirs."""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

_BUILT_IN = (GetSetDescriptorType, MemberDescriptorType)
_bases: Any = type.__dict__["__mro__"].__get__
_own: Any = type.__dict__["__dict__"].__get__


def variables_of(item: object) -> dict[str, Any] | None:
    """Return the dictionary of a module's or an object's variables; None if it has none.

    A class may have a property in place of `__dict__`: that of a lazy module imports everything
    that the module promises.
    """
    for base in _bases(type(item)):
        found: Any = _own(base).get("__dict__")
        if type(found) in _BUILT_IN:
            try:
                held: object = found.__get__(item)
            except Exception:  # a proxy's whose object is not there yet
                return None
            return held if type(held) is dict else None
    return None
