"""Checks of values that another process has sent: what cannot be right is refused.

Other processes are not trusted: types, lengths and sizes are limited, and nothing that they send is
executed.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

_MOST_CHARACTERS = 10_000
"""The most characters of one text in a message."""
_MOST_MEMBERS = 10_000_000
"""The most members of lists, counts by name or windows in one column."""
_MOST_DIGITS = 100
"""The most digits before or after the point of an amount."""
_LARGEST = 2**62
_LARGEST_FLOAT = 1e300
_BITS = "Q"
"""The type code of `array` for whole numbers from zero on, of eight bytes."""
INTEGER, DOUBLE = "q", "d"
"""The type codes of `array` for whole numbers and floats, of eight bytes each."""
_LARGEST_BITS = array(_BITS, array("d", [_LARGEST_FLOAT]).tobytes())[0]
_NUMBER = 8
_MOST_SIGNIFICANT = 7 if sys.byteorder == "little" else 0
"""The index of the byte with the sign, among the eight of a number."""
_USUAL_INTEGERS = bytes(range(_LARGEST >> 56))
"""The most significant bytes of whole numbers from zero on that are surely small enough."""
_USUAL_DOUBLES = bytes(range(_LARGEST_BITS >> 56))
"""The most significant bytes of doubles from zero on that are surely small enough."""


class Malformed(ValueError):
    """A message that no worker of this version writes; the text says what is wrong."""


class Samples:
    """The numbers that come after a message's JSON, taken one column after the other."""

    def __init__(self, data: memoryview) -> None:
        count = len(data) // _NUMBER
        self._data = data
        self._first_bytes = bytes(data[_MOST_SIGNIFICANT::_NUMBER])[:count]
        self._next, self._end = 0, count

    def take(self, count: int, kind: str, usual: bytes) -> tuple[array[Any], bool]:
        """Return the next `count` numbers, of `array`'s type code `kind`.

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


def moment(value: object) -> float:
    """Return a time in seconds. Raises Malformed if `value` is none."""
    if type(value) not in (float, int) or not abs(value) <= _LARGEST_FLOAT:  # type: ignore[arg-type]
        raise Malformed("something is no time")
    return float(value)  # type: ignore[arg-type]


def list_of(value: Any, length: int | None = None) -> list[Any]:
    """Return `value`, a list of that length. Raises Malformed if it is none."""
    if not isinstance(value, list) or length not in (None, len(value)):
        raise Malformed("something is no list, or has another length")
    return value


def of_types(column: Any, count: int, *kinds: type) -> list[Any]:
    """Return a list of `count` values of these types. Raises Malformed."""
    if not set(map(type, found := list_of(column, count))).issubset(kinds):
        raise Malformed(f"something is no {kinds[0].__name__}")
    return found


def integers(_column: Any, count: int, samples: Samples) -> Sequence[int]:
    """Take whole numbers from zero on. Raises Malformed."""
    found, is_usual = samples.take(count, _BITS, _USUAL_INTEGERS)  # a negative one looks large
    if not is_usual and max(found) > _LARGEST:
        raise Malformed("something is no count")
    return found


def floats(_column: Any, count: int, samples: Samples) -> Sequence[float]:
    """Take finite floats. Raises Malformed."""
    return doubles(count, samples, -_LARGEST_FLOAT)


def doubles(count: int, samples: Samples, least: float) -> array[float]:
    """Take finite floats from `least` on. Raises Malformed."""
    found, is_usual = samples.take(count, DOUBLE, _USUAL_DOUBLES)
    if not is_usual and not _are_between(found, least):
        raise Malformed("something is no number, or no duration")
    return found


def _are_between(values: Sequence[float], least: float) -> bool:
    # A NaN may be neither the smallest nor the largest, but makes the sum one.
    return min(values) >= least and max(values) <= _LARGEST_FLOAT and not math.isnan(sum(values))


def texts(column: Any, count: int, _samples: Samples) -> list[str]:
    """Return a list of texts of bounded length. Raises Malformed."""
    found = of_types(column, count, str)
    if found and max(map(len, found)) > _MOST_CHARACTERS:
        raise Malformed("a text is too long")
    try:
        "".join(found).encode()
    except UnicodeEncodeError:  # half a surrogate pair would break every text that has it
        raise Malformed("a text cannot be written") from None
    return found


def booleans(column: Any, count: int, _samples: Samples) -> list[bool]:
    """Return a list of booleans. Raises Malformed."""
    return of_types(column, count, bool)


def decimals(column: Any, count: int, samples: Samples) -> list[Decimal]:
    """Return amounts, which are written as texts. Raises Malformed."""
    try:
        found = [*map(Decimal, texts(column, count, samples))]
    except InvalidOperation:
        raise Malformed("something is no amount") from None
    if not all(each.is_finite() and abs(each.adjusted()) <= _MOST_DIGITS for each in found):
        raise Malformed("something is no amount")
    return found


def total(lengths: Sequence[int]) -> int:
    """Return the sum of lengths. Raises Malformed if it is too large to be read."""
    found = sum(lengths)
    if found > _MOST_MEMBERS:
        raise Malformed("something is too long")
    return found
