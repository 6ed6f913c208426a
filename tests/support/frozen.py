"""Sets aside what the collector of garbage need not look through, and knows our functions in it.

Thousands of modules stay from one test to the next. Without this each collection, and each look
for the caches of a program, would pass all of their objects again.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import metertap
import metertap_exporters
import metertap_instrumentation

_PACKAGES = (metertap, metertap_exporters, metertap_instrumentation)
OURS = tuple(str(Path(package.__file__ or "").parent) for package in _PACKAGES)
"""The folders of our packages."""

_set_aside: list[weakref.ref[FunctionType]] = []


def freeze() -> None:
    """Set aside all objects that there are now. Nothing else may do so, nor take them back."""
    _set_aside.extend(
        weakref.ref(item)
        for item in gc.get_objects()
        if type(item) is FunctionType and item.__code__.co_filename.startswith(OURS)
    )
    gc.freeze()


def functions() -> Iterator[FunctionType]:
    """Find every function of ours that is there, and set aside all objects."""
    freeze()
    found = [function for ref in _set_aside if (function := ref()) is not None]
    _set_aside[:] = map(weakref.ref, found)
    return iter(found)
