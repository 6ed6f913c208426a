"""Values of settings, however they were given: parsed, or refused with a `ValueError`."""

from __future__ import annotations

from collections.abc import Callable

from metertap.faults import shown, warn_once


def boolean(value: object) -> bool:
    """True or false, however it is written."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is needed")


def integer(lowest: int, highest: int) -> Callable[[object], int]:
    """What parses a whole number from `lowest` to `highest`."""

    def parse(value: object) -> int:
        word = str(value).strip()  # of True it is no number, nor of 12.0
        if word.removeprefix("-").isdecimal() and len(word) < 20 and lowest <= int(word) <= highest:
            return int(word)
        raise ValueError(f"a whole number from {lowest} to {highest} is needed")

    return parse


def text(value: object) -> str:
    """What is not empty."""
    words = str(value).strip()
    if not words:
        raise ValueError("a value is needed")
    return words


def names(value: object) -> frozenset[str]:
    """Names separated by commas, or a list of them."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError("names separated by commas are needed")
    return frozenset(word for item in words if (word := str(item).strip()))


def seconds(lowest: float, highest: float) -> Callable[[object], float]:
    """What parses a number of seconds from `lowest` to `highest`."""

    def parse(value: object) -> float:
        if not isinstance(value, bool):
            try:
                number = float(str(value))
            except ValueError:
                number = -1.0
            if lowest <= number <= highest:
                return number
        raise ValueError(f"a number of seconds from {lowest:g} to {highest:g} is needed")

    return parse


def tell_unusable(shown_name: str, raw: object, why: str, taken: object) -> None:
    """Warn, once, that a value cannot be used, and say which one is taken instead."""
    warn_once(
        f"setting {shown_name}",
        "%s=%s cannot be used (%s); %s is taken",
        shown_name,
        shown(raw),
        why,
        shown(taken),
    )
