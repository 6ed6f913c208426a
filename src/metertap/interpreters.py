"""Tells which interpreter of the process this is: a process may have several."""

from __future__ import annotations

import sys


def is_subinterpreter() -> bool:
    """Return whether this is an interpreter that another one has made.

    CPython has modules for that whose names are not public.
    """
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    try:
        interpreters = __import__(name)
    except ImportError:
        return False
    return bool(interpreters.get_current() != interpreters.get_main())
