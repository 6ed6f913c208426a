"""The collector of this process."""

from __future__ import annotations

import pytest

from metertap import PerformanceMetricsCollector


@pytest.fixture
def collector() -> PerformanceMetricsCollector:
    return PerformanceMetricsCollector()
