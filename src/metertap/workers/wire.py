"""Messages between workers: columns of texts as JSON, and columns of numbers as bytes.

A whole column is written and checked at once, by functions that loop outside of Python; of one
whose values are all equal there is one. Numbers follow the JSON, eight bytes each. Other processes
are not trusted: everything from one is checked against the declared type, its length is limited,
and nothing in it is executed.
"""

from __future__ import annotations

import functools
import json
import math
import struct
import sys
import types
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from itertools import accumulate, chain, pairwise, zip_longest
from operator import attrgetter, itemgetter
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from metertap.workers.columns import Named

VERSION = 7
"""The version of this format; a worker that writes another one is not understood."""
MOST_BYTES = 64 * 2**20
"""The longest message that is read: 2,000 series with windows of 1,000 samples take 17 MB."""
_MOST_CHARACTERS = 10_000
"""The most characters of one text in it."""
_MOST_MEMBERS = 10_000_000
"""The most members of lists, counts by name or windows in one column."""
_MOST_ALIKE = 100_000
"""The most members of a column that is written as one value because all are equal."""
_MOST_COPIED = 1_000_000
"""The most members and characters that all of them may have: a short message is to stay small."""
_MOST_DIGITS = 100
"""The most digits before or after the point of an amount."""
_ALL = "all"
"""The name of the one value of a column whose values are all equal."""
_AS_BEFORE: Mapping[str, Any] = {}
"""What stands for a column of values that the reader has."""
_SINGLE = frozenset({int, float, bool, types.NoneType})
_FLAT, _LISTS = (str, array), (tuple, list)
"""Types of values that have an extent: made once, since each value is asked for its own."""
_LARGEST = 2**62
_LARGEST_FLOAT = 1e300
_BITS = "Q"
"""What `array` calls eight bytes that are a whole number from zero on."""
_LARGEST_BITS = array(_BITS, array("d", [_LARGEST_FLOAT]).tobytes())[0]
_LENGTH = struct.Struct(">I")
_NUMBER = 8
_MOST_SIGNIFICANT = 7 if sys.byteorder == "little" else 0
"""The place of the byte with the sign, among the eight of a number."""
_USUAL_INTEGERS = bytes(range(_LARGEST >> 56))
"""The most significant bytes of whole numbers from zero on that are small enough."""
_USUAL_DOUBLES = bytes(range(_LARGEST_BITS >> 56))
"""The most significant bytes of doubles from zero on that are small enough."""


class Malformed(ValueError):
    """A message that is not ours; the text says what is wrong."""


class OtherVersion(Malformed):
    """A message that is not in the format of this version."""


class Samples:
    """The numbers that come after a message's JSON, taken one column after the other."""

    def __init__(self, data: memoryview) -> None:
        count = len(data) // _NUMBER
        self._data = data
        self._first_bytes = bytes(data[_MOST_SIGNIFICANT::_NUMBER])[:count]
        self._next, self._end = 0, count

    def take(self, count: int, kind: str, usual: bytes) -> tuple[array[Any], bool]:
        """Return the next `count` numbers, of the type that `array` calls `kind`.

        Also returns whether their most significant bytes are all `usual`. Raises Malformed.
        """
        start, end = self._moved(count)
        taken = array(kind)
        taken.frombytes(self._data[start * _NUMBER : end * _NUMBER])
        return taken, not self._first_bytes[start:end].translate(None, usual)

    def part(self, size: int) -> Samples:
        """Take out the next `size` bytes, which are of one section. Raises Malformed."""
        if size % _NUMBER:
            raise Malformed("a number is cut off")
        start, end = self._moved(size // _NUMBER)
        return Samples(self._data[start * _NUMBER : end * _NUMBER])

    def _moved(self, count: int) -> tuple[int, int]:
        start, end = self._next, self._next + count
        if not start <= end <= self._end:
            raise Malformed("numbers are missing")
        self._next = end
        return start, end


T = TypeVar("T")
Column = Any
"""Many values, as JSON writes them; None where they are numbers, which come after the JSON."""
Columns = Sequence[Sequence[Any]]
Encode = Callable[[Sequence[Any], list[bytes]], Column]
"""A function that makes a column, and adds its numbers to a list."""
Decode = Callable[[Column, int, Samples], Sequence[Any]]
"""A function that makes the values of a column from it and its numbers, or raises Malformed."""


def dumped(message: object, samples: Iterable[bytes] = ()) -> bytes:
    """Write a message. Raises ValueError for NaN and infinity in its JSON."""
    data = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(data)), data, *samples])


def framed(message: Mapping[str, Any], samples: Iterable[bytes] = ()) -> bytes:
    """Write a message after its length, so that others may follow it."""
    data = dumped({"version": VERSION, **message}, samples)
    return _LENGTH.pack(len(data)) + data


def loaded(data: bytes | bytearray) -> tuple[dict[str, Any], Samples]:
    """Read what `dumped` wrote. Raises Malformed."""
    try:
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        found = json.loads(data[_LENGTH.size : end], parse_constant=_refuse)
    except (ValueError, RecursionError, struct.error):
        raise OtherVersion("it is no JSON") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise OtherVersion("it is of another version")
    return found, Samples(memoryview(data)[end:])


def messages(data: bytes) -> Iterator[tuple[dict[str, Any], Samples]]:
    """Read messages that were framed, one after the other. Raises Malformed.

    What comes after the first may be cut off.
    """
    start, end = 0, len(data)
    while start < len(data) or not start:
        size = len(data[start : start + _LENGTH.size])
        if size == _LENGTH.size:
            end = start + size + _LENGTH.unpack_from(data, start)[0]
        if start and (size < _LENGTH.size or end > len(data)):
            return
        yield loaded(data[start + size : end])
        start = end


def moment(value: object) -> float:
    """Check the time of something, in seconds. Raises Malformed."""
    if type(value) not in (float, int) or not abs(value) <= _LARGEST_FLOAT:  # type: ignore[arg-type]
        raise Malformed("something is no time")
    return float(value)  # type: ignore[arg-type]


@functools.cache
def encoder(kind: Any) -> Encode:
    """Return a function that makes a column of values of type `kind`."""
    origin, arguments = _parts(kind)
    if origin is Union:
        return functools.partial(_encoded_optional, encoder(arguments[0]))
    if origin is Sequence:  # of doubles, as `Run` has it
        return _encoded_samples
    if origin is tuple and arguments[-1] is Ellipsis:
        return functools.partial(_encoded_lists, encoder(arguments[0]))
    if origin is tuple:
        places = [(itemgetter(place), encoder(item)) for place, item in enumerate(arguments)]
        return functools.partial(_encoded_members, places)
    if origin is dict:
        return functools.partial(_encoded_named, encoder(arguments[1]))
    if kind is Decimal:
        return lambda values, _samples: [*map(str, values)]
    if kind in _NUMBERS:
        return functools.partial(_encoded_numbers, _NUMBERS[kind])
    if names := _names(kind):
        hints = get_type_hints(kind)
        members = [(attrgetter(name), encoder(hints[name])) for name in names]
        return functools.partial(_encoded_members, members)
    return lambda values, _samples: values


_NUMBERS = {int: "q", float: "d"}
"""What `array` calls numbers of eight bytes."""


def _encoded_numbers(kind: str, values: Iterable[Any], samples: list[bytes]) -> None:
    samples.append(array(kind, values).tobytes())


_encoded_integers = functools.partial(_encoded_numbers, _NUMBERS[int])


@functools.cache
def decoder(kind: Any) -> Decode:
    """Return a function that makes values of type `kind` from a column, or raises Malformed."""
    origin, arguments = _parts(kind)
    if origin is Union:
        return functools.partial(_decoded_optional, decoder(arguments[0]))
    if origin is Sequence:  # of doubles, as `Run` has it
        return _decoded_samples
    if origin is tuple and arguments[-1] is Ellipsis:
        return functools.partial(_decoded_lists, decoder(arguments[0]))
    if origin is tuple:
        return functools.partial(_decoded_members, [decoder(item) for item in arguments], tuple)
    if origin is dict:
        return functools.partial(_decoded_named, decoder(arguments[1]))
    if names := _names(kind):
        hints = get_type_hints(kind)
        each = [decoder(hints[name]) for name in names]
        # `_make` of a named tuple would count the members again.
        make = functools.partial(tuple.__new__, kind)
        made = make if issubclass(kind, tuple) else lambda members: kind(*members)
        return functools.partial(_decoded_members, each, made)
    plain: Decode = _PLAIN[kind]
    return plain


@functools.cache
def columns_encoder(kind: Any) -> Callable[[Columns, Columns, list[bytes]], Column]:
    """Return a function that writes columns of the members of a named tuple's type.

    It gets what the reader has in their place, or nothing, and leaves out columns that are equal.
    """
    hints = get_type_hints(kind)
    return functools.partial(_encoded_columns, [encoder(hints[name]) for name in kind._fields])


@functools.cache
def columns_decoder(kind: Any) -> Callable[[Column, int, Samples], list[Sequence[Any] | None]]:
    """Return a function that makes a column of each member of a named tuple's type.

    None is a column that was left out: its values are what they were.
    """
    hints = get_type_hints(kind)
    return functools.partial(_decoded_columns, [decoder(hints[name]) for name in kind._fields])


def all_of(columns: Sequence[Sequence[Any] | None]) -> Columns:
    """Return columns of which none was left out. Raises Malformed."""
    found = [column for column in columns if column is not None]
    if len(found) < len(columns):
        raise Malformed("something is missing")
    return found


def _names(kind: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's or named tuple's members; none for another type."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    found: tuple[str, ...] = getattr(kind, "_fields", ())
    return found


def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType or origin is Union:
        return Union, tuple(item for item in arguments if item is not type(None))
    return origin, arguments


# A value that may be None: one flag for all of them, or one for each, and those that are there.


def _encoded_optional(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    there = [value for value in values if value is not None]
    flags = None
    if there and len(there) < len(values):
        flags = [value is not None for value in values]
    return [flags, len(there), inner(there, samples) if there else None]


def _decoded_optional(inner: Decode, column: Column, count: int, samples: Samples) -> Sequence[Any]:
    flags, there, written = _list(column, 3)
    if flags is None and there == 0:
        return [None] * count
    if flags is None and there == count:
        return inner(written, count, samples)
    if sum(_booleans(flags, count, samples)) != there:
        raise Malformed("something is there more or less often than is said")
    found_each = iter(inner(written, there, samples))
    return [next(found_each) if flag else None for flag in flags]


# Lists of any length: their lengths, and what is in all of them.


def _encoded_lists(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    _encoded_integers(map(len, values), samples)
    return inner([*chain.from_iterable(values)], samples)


def _decoded_lists(inner: Decode, column: Column, count: int, samples: Samples) -> list[Any]:
    lengths = _integers(None, count, samples)
    return parted(inner(column, _total(lengths), samples), lengths)


def parted(values: Iterable[T], lengths: Iterable[int]) -> list[tuple[T, ...]]:
    """Return the next so many values, and then the next, for each of some lengths."""
    found, ends = (*values,), [*accumulate(lengths)]
    return [*map(found.__getitem__, map(slice, [0, *ends], ends))]


# What has names: the lists of names that occur, which of them each value has, and what is in all.


def _encoded_named(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    shapes: dict[tuple[str, ...], int] = {}
    which = [shapes.setdefault(tuple(value), len(shapes)) for value in values]
    _encoded_integers(which, samples)
    members = [*chain.from_iterable(value.values() for value in values)]
    return [[*map(list, shapes)], inner(members, samples)]


def _decoded_named(inner: Decode, column: Column, count: int, samples: Samples) -> Sequence[Any]:
    shapes, written = _list(column, 2)
    for names in _list(shapes):
        _texts(names, len(_list(names)), samples)
    which = _integers(None, count, samples)
    if max(which, default=-1) >= len(shapes):
        raise Malformed("names are missing")
    found = [*map(shapes.__getitem__, which)]
    values = inner(written, _total([*map(len, found)]), samples)
    if found and found[0] and which.count(which[0]) == count:  # as usual
        return Named.of(tuple(found[0]), values)
    each = iter(values)
    return [dict(zip(names, each)) if names else {} for names in found]  # noqa: B905


def _encoded_members(
    members: Sequence[tuple[Callable[[Any], Any], Encode]],
    values: Sequence[Any],
    samples: list[bytes],
) -> Column:
    each = [encode for _, encode in members]
    return _encoded_columns(each, [[*map(member, values)] for member, _ in members], (), samples)


def _encoded_columns(
    each: Sequence[Encode], columns: Columns, before: Columns, samples: list[bytes]
) -> Column:
    written: list[Column] = []
    for encode, column, known in zip_longest(each, columns, before):
        count = len(column)
        if known is not None and known == column:
            written.append(_AS_BEFORE)
        elif count > 1 and column.count(column[0]) == count and _may_be_alike(column[0], count):
            written.append({_ALL: encode(column[:1], samples)})
        else:
            written.append(encode(column, samples))
    return written


def _decoded_members(
    each: Sequence[Decode],
    made: Callable[[Any], Any],
    column: Column,
    count: int,
    samples: Samples,
) -> list[Any]:
    columns = all_of(_decoded_columns(each, column, count, samples))
    return [*map(made, zip(*columns, strict=True))]


def _decoded_columns(
    each: Sequence[Decode], column: Column, count: int, samples: Samples
) -> list[Sequence[Any] | None]:
    columns: list[Sequence[Any] | None] = []
    for decode, part in zip(each, _list(column, len(each)), strict=True):
        if type(part) is not dict:
            columns.append(decode(part, count, samples))
        elif not part:
            columns.append(None)
        else:
            (value,) = decode(part.get(_ALL), 1, samples)
            if count < 2 or not _may_be_alike(value, count):
                raise Malformed("too many are alike")
            is_named = isinstance(value, dict) and bool(value)
            columns.append(_named_alike(value, count) if is_named else [value] * count)
    return columns


def _named_alike(value: dict[str, Any], count: int) -> Named:
    return Named(tuple(value), [tuple(value.values())] * count)


def _may_be_alike(value: Any, count: int) -> bool:
    return count <= _MOST_ALIKE and count * _extent(value) <= _MOST_COPIED


def _extent(value: Any) -> int:
    """Return the number of all members and characters in a value, itself included."""
    if type(value) in _SINGLE:
        return 1
    if isinstance(value, _FLAT):
        return 1 + len(value)
    if isinstance(value, dict):
        return sum(map(_extent, chain(value, value.values())), 1)
    return sum(map(_extent, value), 1) if isinstance(value, _LISTS) else 1


def _encoded_samples(values: Sequence[Any], samples: list[bytes]) -> None:
    _encoded_integers(map(len, values), samples)
    samples += map(array.tobytes, values)


def _decoded_samples(_column: Column, count: int, samples: Samples) -> Sequence[Any]:
    lengths = _integers(None, count, samples)
    values = _doubles(_total(lengths), samples, 0.0)
    ends = [*accumulate(lengths)]
    return [values[start:end] for start, end in pairwise([0, *ends])]


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise Malformed("something is no list, or has another length")
    return value


def _of_types(column: Column, count: int, *kinds: type) -> list[Any]:
    if not set(map(type, found := _list(column, count))).issubset(kinds):
        raise Malformed(f"something is no {kinds[0].__name__}")
    return found


def _integers(_column: Column, count: int, samples: Samples) -> Sequence[int]:
    found, is_usual = samples.take(count, _BITS, _USUAL_INTEGERS)  # negative ones are large
    if not is_usual and max(found) > _LARGEST:
        raise Malformed("something is no count")
    return found


def _floats(_column: Column, count: int, samples: Samples) -> Sequence[float]:
    return _doubles(count, samples, -_LARGEST_FLOAT)


def _doubles(count: int, samples: Samples, least: float) -> array[float]:
    found, is_usual = samples.take(count, _NUMBERS[float], _USUAL_DOUBLES)
    if not is_usual and not _are_between(found, least):
        raise Malformed("something is no number, or no duration")
    return found


def _are_between(values: Sequence[float], least: float) -> bool:
    # A NaN may be neither the smallest nor the largest, but the sum is one then.
    return min(values) >= least and max(values) <= _LARGEST_FLOAT and not math.isnan(sum(values))


def _texts(column: Column, count: int, _samples: Samples) -> list[str]:
    found = _of_types(column, count, str)
    if found and max(map(len, found)) > _MOST_CHARACTERS:
        raise Malformed("a text is too long")
    try:
        "".join(found).encode()
    except UnicodeEncodeError:  # half a surrogate pair would break every text that has it
        raise Malformed("a text cannot be written") from None
    return found


def _booleans(column: Column, count: int, _samples: Samples) -> list[bool]:
    return _of_types(column, count, bool)


def _decimals(column: Column, count: int, samples: Samples) -> list[Decimal]:
    try:
        found = [*map(Decimal, _texts(column, count, samples))]
    except InvalidOperation:
        raise Malformed("something is no amount") from None
    if not all(each.is_finite() and abs(each.adjusted()) <= _MOST_DIGITS for each in found):
        raise Malformed("something is no amount")
    return found


def _total(lengths: Sequence[int]) -> int:
    found = sum(lengths)
    if found > _MOST_MEMBERS:
        raise Malformed("something is too long")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise Malformed("something is no number")


_PLAIN: dict[Any, Decode] = {
    int: _integers,
    float: _floats,
    str: _texts,
    Decimal: _decimals,
    bool: _booleans,
}
