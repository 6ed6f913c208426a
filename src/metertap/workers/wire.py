"""Messages between workers as JSON: numbers, texts and samples, written and read back.

Other processes are not trusted. Whatever comes from one is checked against the declared type while
it is decoded, its length is bounded, and nothing in it is ever run.
"""

from __future__ import annotations

import binascii
import functools
import json
import math
import sys
import types
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Union, get_args, get_origin, get_type_hints

VERSION = 1
"""Of what is written here; a worker that writes another one is not understood."""
MOST_BYTES = 64 * 2**20
"""The longest message that is read: 2,000 series with windows of 1,000 samples have 22 MB."""
_MOST_CHARACTERS = 10_000
"""Of one text in it."""
_MOST_DIGITS = 100
"""Before or after the point of an amount."""
_LARGEST = 2**62
_LARGEST_FLOAT = 1e300


class Malformed(ValueError):
    """A message that is none of ours; the text says what is wrong with it."""


class Samples:
    """Latencies in milliseconds. They are not changed."""

    __slots__ = ("values",)

    def __init__(self, values: array[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)


Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]


def dumped(value: object) -> bytes:
    """Write what `encoder` functions made. Raises ValueError for NaN and infinity."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def loaded(text: bytes | bytearray) -> Any:
    """Read what `dumped` wrote. Raises Malformed."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise Malformed("it is of another version")
    return found


@functools.cache
def encoder(kind: Any) -> Encode:
    """Return what makes JSON's own types of a value of type `kind`."""
    origin, arguments = _parts(kind)
    if origin is Union:
        inner = encoder(arguments[0])
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        each = [encoder(item) for item in arguments if item is not Ellipsis]
        if arguments[-1] is Ellipsis:
            return lambda value: [each[0](item) for item in value]
        return lambda value: [made(item) for made, item in zip(each, value, strict=True)]
    if origin is dict:
        inner = encoder(arguments[1])
        return lambda value: {key: inner(item) for key, item in value.items()}
    if kind is Samples:
        return _encoded_samples
    if kind is Decimal:
        return str
    if names := _names(kind):
        hints = get_type_hints(kind)
        members = [(name, encoder(hints[name])) for name in names]
        return lambda value: [made(getattr(value, name)) for name, made in members]
    return lambda value: value


@functools.cache
def decoder(kind: Any) -> Decode:
    """Return what makes a value of type `kind` of JSON's own types, and raises Malformed."""
    origin, arguments = _parts(kind)
    if origin is Union:
        inner = decoder(arguments[0])
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        inner = decoder(arguments[1])
        return lambda value: {
            _text(key): inner(item) for key, item in _checked(value, dict).items()
        }
    if names := _names(kind):
        hints = get_type_hints(kind)
        members = _tuple(tuple(hints[name] for name in names))
        return lambda value: kind(*members(value))
    return _PLAIN[kind]


def _names(kind: Any) -> tuple[str, ...]:
    """Name the members of a dataclass or a named tuple; none of another type."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    found: tuple[str, ...] = getattr(kind, "_fields", ())
    return found


def _tuple(kinds: tuple[Any, ...]) -> Decode:
    each = [decoder(item) for item in kinds if item is not Ellipsis]
    if kinds[-1] is Ellipsis:
        return lambda value: tuple(each[0](item) for item in _checked(value, list))

    def decoded(value: Any) -> Any:
        if len(_checked(value, list)) != len(each):
            raise Malformed("a list has another length")
        return tuple(read(item) for read, item in zip(each, value, strict=True))

    return decoded


def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType or origin is Union:
        return Union, tuple(item for item in arguments if item is not type(None))
    return origin, arguments


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Malformed(f"something is no {kind.__name__}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise Malformed("something is no count")
    return value


def _number(value: Any) -> float:
    if type(value) not in (float, int) or not -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
        raise Malformed("something is no number")
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > _MOST_CHARACTERS:
        raise Malformed("something is no text")
    return value


def _decimal(value: Any) -> Decimal:
    try:
        found = Decimal(_text(value))
    except InvalidOperation:
        raise Malformed("something is no amount") from None
    if not found.is_finite() or abs(found.adjusted()) > _MOST_DIGITS:
        raise Malformed("something is no amount")
    return found


def _encoded_samples(samples: Samples) -> str:
    values = samples.values
    if sys.byteorder != "little":
        values = array("d", values)
        values.byteswap()
    return b64encode(values.tobytes()).decode()


def _decoded_samples(value: Any) -> Samples:
    values = array("d")
    try:
        values.frombytes(b64decode(_checked(value, str), validate=True))
    except (binascii.Error, ValueError):
        raise Malformed("something is no list of samples") from None
    if sys.byteorder != "little":
        values.byteswap()
    if values and not (math.isfinite(sum(values)) and min(values) >= 0):
        raise Malformed("a sample is no duration")
    return Samples(values)


_PLAIN: dict[Any, Decode] = {
    int: _integer,
    float: _number,
    str: _text,
    Decimal: _decimal,
    bool: lambda value: _checked(value, bool),
    Samples: _decoded_samples,
}
