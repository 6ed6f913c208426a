"""Figures that no recorder counted: each number is another one."""

from __future__ import annotations

from typing import Any

from metertap import outcomes
from metertap.recording import (
    CacheFigures,
    Figures,
    LatencyFigures,
    OperationFigures,
    Percentiles,
    ToolFigures,
)
from metertap_exporters.json.document import outline, with_entries

TOOL = ToolFigures(
    name="search",
    source="test",
    counts={
        outcomes.OK: 7,
        outcomes.TOOL_ERROR: 1,
        outcomes.EXCEPTION: 2,
        outcomes.TIMEOUT: 4,
        outcomes.CANCELLED: 8,
        outcomes.CALLER_ERROR: 16,
        outcomes.INTERIM: 32,
    },
    error_types={"KeyError": 3},
    errors={"exception KeyError": 2, "caller_error KeyError": 1},
    sampled=12,
    total_ms=240.0,
    minimum_ms=2.0,
    maximum_ms=90.0,
    percentiles=Percentiles(11.0, 95.5, 99.5, ("p95", "p99")),
    window_samples=9,
    active=5,
    last_call=1234.5,
    with_cache=(
        LatencyFigures(2, 8.0, Percentiles(1.0, 2.0, 3.0)),
        LatencyFigures(0, 0.0, Percentiles()),
    ),
    first_item=LatencyFigures(4, 6.0, Percentiles(4.0, 5.0, 6.0)),
    unsampled=3,
    unsampled_ms=60.0,
)


UNUSED = TOOL._replace(
    name="unused",
    counts=dict.fromkeys(outcomes.ALL, 0),
    error_types={},
    errors={},
    sampled=0,
    total_ms=0.0,
    minimum_ms=None,
    maximum_ms=None,
    percentiles=Percentiles(),
    window_samples=0,
    active=0,
    last_call=None,
    with_cache=None,
    first_item=None,
    unsampled=0,
    unsampled_ms=0.0,
)


CACHE = CacheFigures(
    name="prompts",
    system="redis",
    hits=6,
    misses=2,
    evictions=3,
    rejections=None,
    by_tool={"search": (1, 3), "buy": (0, 0)},
    entries=5,
    is_read=False,
    objects=1,
)


OPERATION = OperationFigures(
    side="server",
    method="tools/call",
    name="search",
    calls=8,
    failed=2,
    error_types={"KeyError": 2},
    total_ms=160.0,
    minimum_ms=1.0,
    maximum_ms=70.0,
    percentiles=Percentiles(10.0, 65.0, 75.0, ("p99",)),
    window_samples=6,
    last_call=2345.5,
)


SESSION = OPERATION._replace(side="client", method="", name=None, failed=0, error_types={})


FIGURES = Figures(
    tools=(TOOL, UNUSED),
    caches=(CACHE, CACHE._replace(name="empty", hits=0, misses=0, by_tool=None)),
    active_sessions=2,
    start_time=1000.0,
    uptime_seconds=77.0,
    requests_by_hand=3,
    operations=(OPERATION, OPERATION._replace(side="client", name=None)),
    sessions=(SESSION,),
)


def document(figures: Figures = FIGURES, **options: Any) -> dict[str, Any]:
    given = {"enabled": True, "service": {"name": "s"}, "foreign": (), "alerts": None, **options}
    return dict(with_entries(outline(figures, **given)))
