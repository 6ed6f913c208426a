"""The meter of one test: the value of the fixture `metertap`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from metertap.runtime.instrument import instrument
from metertap.runtime.tap import active_tap, get_all_metrics, reset_metrics
from metertap.tables.document import Document
from metertap.testing.figures import Calls, Lookups, text_of


class Meter:
    """Figures of the tools and caches that a test uses; safe in any thread or task."""

    KEPT = pytest.StashKey[Document]()
    """The place of a test's figures until the report is written."""

    def __repr__(self) -> str:
        return "<meter of this test>"

    def calls(self, tool: str) -> Calls:
        """Return the calls of a tool so far; a tool that was not called has none."""
        return Calls(tool, self.document())

    def cache(self, name: str) -> Lookups:
        """Return the lookups in a cache so far."""
        return Lookups(name, self.document())

    def document(self) -> Document:
        """Return the whole metrics document, as `tap.snapshot()` has it."""
        return cast(Document, get_all_metrics())

    def table(self) -> str:
        """Return tools and caches as text, to be printed."""
        return text_of(self.document())


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure from zero. A program that measures itself goes on, with its own settings.

    If only the test measures, nothing is served or pushed.
    """
    held = None
    try:
        if active_tap() is None:
            held = instrument(
                enabled=True,
                json_endpoint=False,
                prometheus=False,
                announce=False,
                window_size=100_000,
            )
            if not held.is_active:
                reason = held.diagnosis().get("disabled_because") or "metertap cannot be used here"
                pytest.fail(f"nothing can be measured: {reason}", pytrace=False)
            held.pipeline.deliver_nothing()
        reset_metrics()
        yield Meter()
    finally:
        if held is not None:
            held.shutdown()
