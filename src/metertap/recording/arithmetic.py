"""Decimal arithmetic that stays exact, whatever context the program has set."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, localcontext

_DIGITS = 50


def exact() -> AbstractContextManager[Context]:
    """Compute in the block with 50 digits, whatever precision and traps the thread has."""
    return localcontext(Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, traps=[]))
