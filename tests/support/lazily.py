"""Libraries that are imported when a test first uses them, and not by whoever collects tests."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import pytest


class _Library:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks whatever a test file names for some of these
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def library(name: str) -> Any:
    """Stand for a module that takes long to import; skip the test's file where it is not there."""
    try:
        found = find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        found = False
    if not found:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    return _Library(name)
