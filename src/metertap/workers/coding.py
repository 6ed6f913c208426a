"""Columns of values of declared types: texts as JSON, and numbers as bytes.

A whole column is written and checked at once, by functions that loop outside of Python. A column
whose values are all equal is written as one value.
"""

from __future__ import annotations

import functools
import types
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from itertools import accumulate, chain, pairwise, zip_longest
from operator import attrgetter, itemgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

from metertap.workers.checking import (
    DOUBLE,
    INTEGER,
    Malformed,
    Samples,
    booleans,
    decimals,
    doubles,
    floats,
    integers,
    list_of,
    texts,
    total,
)
from metertap.workers.columns import Named, parted

_MOST_ALIKE = 100_000
"""The most members of a column that is written as one value because all are equal."""
_MOST_COPIED = 1_000_000
"""The most members and characters in all of these: a short message must not become large."""
_ALL = "all"
"""The key of the one value of a column whose values are all equal."""
_AS_BEFORE: Mapping[str, Any] = {}
"""The mark in place of a column that the reader has already."""
_SINGLE = frozenset({int, float, bool, types.NoneType})
_FLAT, _LISTS = (str, array), (tuple, list)
"""Types of values by their extent, as tuples that are made once: many values are checked."""
Column = Any
"""Many values as JSON; None for numbers, which come after the JSON."""
Columns = Sequence[Sequence[Any]]
Encode = Callable[[Sequence[Any], list[bytes]], Column]
"""A function that returns a column of values, and adds their numbers to a list."""
Decode = Callable[[Column, int, Samples], Sequence[Any]]
"""A function that returns the values of a column of that length, or raises Malformed."""


@functools.cache
def encoder(kind: Any) -> Encode:
    """Return the function that writes values of type `kind` as a column."""
    origin, arguments = _parts(kind)
    if origin is Union:
        return functools.partial(_encoded_optional, encoder(arguments[0]))
    if origin is Sequence:  # doubles, as in `Run`
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


_NUMBERS = {int: INTEGER, float: DOUBLE}


def _encoded_numbers(kind: str, values: Iterable[Any], samples: list[bytes]) -> None:
    samples.append(array(kind, values).tobytes())


_encoded_integers = functools.partial(_encoded_numbers, INTEGER)


@functools.cache
def decoder(kind: Any) -> Decode:
    """Return the function that reads values of type `kind` from a column, or raises Malformed."""
    origin, arguments = _parts(kind)
    if origin is Union:
        return functools.partial(_decoded_optional, decoder(arguments[0]))
    if origin is Sequence:  # doubles, as in `Run`
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
    """Return the function that writes a named tuple's members, a column each.

    Its second argument has the columns that the reader has, if any: equal ones are left out.
    """
    hints = get_type_hints(kind)
    return functools.partial(_encoded_columns, [encoder(hints[name]) for name in kind._fields])


@functools.cache
def columns_decoder(kind: Any) -> Callable[[Column, int, Samples], list[Sequence[Any] | None]]:
    """Return the function that reads a named tuple's members, a column each.

    None is a column that was left out: its values have not changed.
    """
    hints = get_type_hints(kind)
    return functools.partial(_decoded_columns, [decoder(hints[name]) for name in kind._fields])


def all_of(columns: Sequence[Sequence[Any] | None]) -> Columns:
    """Return the columns. Raises Malformed if one was left out."""
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


# A value that may be None: flags (or None if all or none are there), their number, and the values.


def _encoded_optional(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    there = [value for value in values if value is not None]
    flags = None
    if there and len(there) < len(values):
        flags = [value is not None for value in values]
    return [flags, len(there), inner(there, samples) if there else None]


def _decoded_optional(inner: Decode, column: Column, count: int, samples: Samples) -> Sequence[Any]:
    flags, there, written = list_of(column, 3)
    if flags is None and there == 0:
        return [None] * count
    if flags is None and there == count:
        return inner(written, count, samples)
    if sum(booleans(flags, count, samples)) != there:
        raise Malformed("something is there more or less often than is said")
    found_each = iter(inner(written, there, samples))
    return [next(found_each) if flag else None for flag in flags]


# Lists of any length: their lengths, and all their members.


def _encoded_lists(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    _encoded_integers(map(len, values), samples)
    return inner([*chain.from_iterable(values)], samples)


def _decoded_lists(inner: Decode, column: Column, count: int, samples: Samples) -> list[Any]:
    lengths = integers(None, count, samples)
    return parted(inner(column, total(lengths), samples), lengths)


# Dictionaries: the lists of names that occur, which of them each value has, and all their values.


def _encoded_named(inner: Encode, values: Sequence[Any], samples: list[bytes]) -> Column:
    shapes: dict[tuple[str, ...], int] = {}
    which = [shapes.setdefault(tuple(value), len(shapes)) for value in values]
    _encoded_integers(which, samples)
    members = [*chain.from_iterable(value.values() for value in values)]
    return [[*map(list, shapes)], inner(members, samples)]


def _decoded_named(inner: Decode, column: Column, count: int, samples: Samples) -> Sequence[Any]:
    shapes, written = list_of(column, 2)
    for names in list_of(shapes):
        texts(names, len(list_of(names)), samples)
    which = integers(None, count, samples)
    if max(which, default=-1) >= len(shapes):
        raise Malformed("names are missing")
    found = [*map(shapes.__getitem__, which)]
    values = inner(written, total([*map(len, found)]), samples)
    if found and found[0] and which.count(which[0]) == count:  # as usual
        return Named.of(tuple(found[0]), values)
    each = iter(values)
    return [dict(zip(names, each)) if names else {} for names in found]  # noqa: B905


# Tuples and dataclasses: a column for each member, left out or short where it can be.


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
    for decode, part in zip(each, list_of(column, len(each)), strict=True):
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
    lengths = integers(None, count, samples)
    values = doubles(total(lengths), samples, 0.0)
    ends = [*accumulate(lengths)]
    return [values[start:end] for start, end in pairwise([0, *ends])]


_PLAIN: dict[Any, Decode] = {
    int: integers,
    float: floats,
    str: texts,
    Decimal: decimals,
    bool: booleans,
}
