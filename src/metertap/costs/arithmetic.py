"""Decimal arithmetic that no setting of the program's own can make inexact."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, localcontext

_DIGITS = 50


def exact() -> AbstractContextManager[Context]:
    """Compute inside with 50 digits, whatever precision and traps this thread is set to."""
    return localcontext(Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, traps=[]))
