"""The process under test: metertap with the readers that the promises are about."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import metertap


@contextlib.contextmanager
def measured(**options: Any) -> Iterator[metertap.Tap]:
    """JSON and Prometheus readers attached, nothing recorded, the bulk path in force."""
    logging.getLogger("metertap").setLevel(logging.WARNING)
    metertap.reset()
    ports = {"prometheus": True, "json_port": 0, "prometheus_port": 0}
    with metertap.instrument(announce=False, **ports, **options) as tap:
        readers = {name for name, _ in tap.pipeline.readers()}
        assert {"JsonMetricReader", "PrometheusScrapeReader"} <= readers
        yield tap
        assert tap.pipeline.recording_paths() == ["bulk"], "not the path that is promised"
    metertap.reset()
