"""Values as people write them in variables, keywords and files: parsed, or refused.

A parser returns the value, or raises a `ValueError` that says which values are allowed. Nothing
here knows which setting a value is for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from decimal import Decimal

_MOST_MONEY = 1_000_000


def boolean(value: object) -> bool:
    """Parse true or false, in any of the usual spellings (`yes`, `0`, `On`)."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is needed")


def integer(lowest: int, highest: int) -> Callable[[object], int]:
    """Make a parser of whole numbers from `lowest` to `highest`."""

    def parse(value: object) -> int:
        word = str(value).strip()  # refuses True and 12.0, whose texts are no whole numbers
        if word.removeprefix("-").isdecimal() and len(word) < 20 and lowest <= int(word) <= highest:
            return int(word)
        raise ValueError(f"a whole number from {lowest} to {highest} is needed")

    return parse


def number(lowest: float, highest: float, unit: str) -> Callable[[object], float]:
    """Make a parser of numbers from `lowest` to `highest`, counted in `unit` ("seconds")."""

    def parse(value: object) -> float:
        if not isinstance(value, bool):
            try:
                found = float(str(value))
            except ValueError:
                found = -1.0
            if lowest <= found <= highest:
                return found
        raise ValueError(f"a number of {unit} from {lowest:g} to {highest:g} is needed")

    return parse


def money(value: object) -> Decimal:
    """Parse an amount of USD, a number in the file or a text. It stays exact."""
    from decimal import Decimal, InvalidOperation  # imported by programs with prices alone

    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= _MOST_MONEY:
        raise ValueError(f"an amount of USD from 0 to {_MOST_MONEY} is needed")
    return amount


def text(value: object) -> str:
    """Parse a text that is not empty."""
    words = str(value).strip()
    if not words:
        raise ValueError("a value is needed")
    return words


def names(value: object) -> frozenset[str]:
    """Parse names that are separated by commas, or a list of names."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError("names separated by commas are needed")
    return frozenset(word for item in words if (word := str(item).strip()))


def nearest(word: str, words: Collection[str], likeness: float = 0.6) -> str | None:
    """Return the one of `words` that is most like `word`, if its likeness (0 to 1) is enough."""
    import difflib  # imported only after a spelling mistake

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=likeness)), None)


def did_you_mean(meant: str | None) -> str:
    """Write the end of an error message that suggests `meant`; empty without a suggestion."""
    return f"; did you mean {meant}?" if meant else ""


def between(lowest: float, highest: float) -> Callable[[object], float]:
    """Return a function that takes a number between two others, or raises ValueError."""

    def parse(value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and lowest < (number := cast("float", value)) < highest:
            return float(number)
        raise ValueError(f"a number above {lowest:g} and below {highest:g} is needed")

    return parse


positive_amount = between(0, _MOST_MONEY)
"""Take an amount of USD that is not nothing, or raise ValueError."""
