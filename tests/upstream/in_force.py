"""A pytest plugin that measures whatever a published suite tests: `-p in_force`."""

from __future__ import annotations

import os

import metertap


def pytest_configure() -> None:
    """Put metertap in force, as a program's first line would."""
    os.environ["METRICS_JSON_PORT"] = "0"
    metertap.instrument()
