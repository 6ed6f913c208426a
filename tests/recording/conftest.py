"""A process whose own figures do not change meanwhile."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own figures are others at each look."""
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "system_metrics")
