"""JSON from another process, checked against a declared type.

The process may run an older or newer metertap, or be some other program that listens there. What
`read` has returned has the types that its TypedDict declares, so no command has to check again.
Keys that are not declared are let through.
"""

from __future__ import annotations

import functools
import json
import types
from typing import Any, Literal, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**53
"""The largest number that every JSON reader takes for the same one (RFC 8259)."""
Kind = TypeVar("Kind")


class Malformed(ValueError):
    """A text that is no document of the wanted kind; the message names the place of the error."""


def read(body: bytes, kind: type[Kind]) -> Kind:
    """Return the document that `body` holds as JSON. Raises Malformed where it is none."""
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON") from None
    _check(document, kind, "")
    checked: Kind = document
    return checked


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _check(value: Any, kind: Any, place: str) -> None:
    """Raise Malformed where `value`, found at `place`, is not of the declared type."""
    origin, arguments = _parts(kind)
    if origin is Any or (value is None and type(None) in arguments):
        return
    if origin is Union:
        _check(value, arguments[0], place)
    elif origin is TypedDict:
        _require(isinstance(value, dict), place, "is no object")
        for name, inner in arguments:
            if name in value:
                _check(value[name], inner, f"{place}.{name}" if place else name)
            else:
                _require(name not in kind.__required_keys__, place, f"has no {name}")
    elif origin is dict:
        _require(isinstance(value, dict), place, "is no object")
        for name, item in value.items():
            _check(item, arguments[1], f"{place}[{name!r}]")
    elif origin is list:
        _require(isinstance(value, list), place, "is no list")
        for item in value:
            _check(item, arguments[0], place)
    elif origin is Literal:
        _require(isinstance(value, str) and value in arguments, place, "is none of what it can be")
    else:
        _require(_is_plain(value, kind), place, f"is no {kind.__name__}")


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the parts of a declared type; for a TypedDict, each field's name and type."""
    if hasattr(kind, "__required_keys__"):
        return TypedDict, tuple(get_type_hints(kind).items())
    origin = get_origin(kind) or kind
    return Union if origin is types.UnionType else origin, get_args(kind)


def _is_plain(value: object, kind: type) -> bool:
    if kind is float or kind is int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (kind is float or isinstance(value, int)) and abs(value) <= _LARGEST
    return isinstance(value, kind)


def _require(holds: bool, place: str, otherwise: str) -> None:
    if not holds:
        raise Malformed(f"{place or 'it'} {otherwise}")
