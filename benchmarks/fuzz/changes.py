"""Words of ours in which something was changed, and who reads them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

ODD = (
    *(
        None,
        True,
        False,
        "",
        "x",
        "\x1b[2J",
        "\ud800",
        "x" * 3000,
        "1",
        "NaN",
        "+Inf",
        "-1",
        "1e999",
    ),
    *(0, -1, 1, 2**31, 2**53, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
    *([], {}, [None], [[]], {"": {}}, [1, 2, 3], {"total": 1}, [[[[[[[[1]]]]]]]]),
)
"""What stands in the place of a value."""


def changed(value: Any, by: random.Random) -> Any:
    """Return a copy of a JSON value in which one thing or a few are others."""
    made = json.loads(json.dumps(value))
    for _ in range(by.choice((1, 1, 1, 2, 5))):
        places = list(_places(made))
        if not places:
            return odd(by)
        holder, key = by.choice(places)
        how = by.random()
        if how < 0.6:
            holder[key] = odd(by)
        elif how < 0.75:
            del holder[key]
        elif how < 0.9:
            other, there = by.choice(places)
            if there in other if isinstance(other, dict) else there < len(other):
                holder[key] = json.loads(json.dumps(other[there]))
        elif isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[f"{key}x"] = odd(by)
    return made


def odd(by: random.Random) -> Any:
    return copy.deepcopy(by.choice(ODD))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def changed_bytes(text: bytes, by: random.Random) -> bytes:
    """Return bytes of which some are others, missing, or twice."""
    made = bytearray(text)
    for _ in range(by.choice((1, 2, 8))):
        at = by.randrange(len(made) + 1)
        end = min(len(made), at + by.choice((1, 1, 2, 9, 100)))
        made[at:end] = by.choice((b"", by.randbytes(end - at), bytes(made[at:end]) * 2))
    return bytes(made)


def dumped(value: Any, by: random.Random) -> bytes:
    text = json.dumps(changed(value, by)).encode()
    return changed_bytes(text, by) if by.random() < 0.2 else text


class Target(NamedTuple):
    """A reader: what it may raise, and what gives it one input, the changes made by a seed."""

    refuses: tuple[type[Exception], ...]
    give: Callable[[random.Random], None]
