"""The processes that the tests of `metertap top` watch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.watched import Measured

ASKING = (
    "prices, spare = metertap.cache_meter('prices'), metertap.cache_meter('spare')",
    "ask = lambda hits: [prices.hit() if hit == 'h' else prices.miss() for hit in hits]",
    "price, quote = (metertap.tool(name=name)(ask) for name in ('price', 'quote'))",
    "[price('h') for _ in range(25)]; [price('hm') for _ in range(5)]; quote('mm'); ask('hhh')",
)


@pytest.fixture
def shop() -> Iterator[Measured]:
    """Yield a process that measures."""
    from support.watched import measured  # what it needs may not be installed

    with measured("shop") as found:
        yield found


@pytest.fixture
def asked(shop: Measured) -> Measured:
    """Return a process with a cache that was asked by two tools, and outside any call."""
    for line in ASKING:
        shop.do(line)
    return shop
