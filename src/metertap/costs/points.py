"""Model calls in OpenTelemetry's histograms: the duration of each, and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from metertap import catalogue
from metertap.costs.call import Call
from metertap.recording import Recorder
from metertap.recording.operation_series import DataPoint
from metertap.recording.usage_series import NO_TOOL

_MOST = 1_000


class _Points:
    """The points at which calls with the same attributes are recorded."""

    __slots__ = ("duration", "era", "input", "output")

    def __init__(self, era: object) -> None:
        self.era = era
        """The recorder's era that has the points; in another era they are not in force."""
        self.duration: DataPoint | None = None
        self.input: DataPoint | None = None
        self.output: DataPoint | None = None


_known: dict[tuple[Any, ...], _Points] = {}
_key: Callable[[Call], tuple[Any, ...]] = attrgetter(
    "tool", "provider", "operation", "requested", "answered", "server", "error_type"
)


def may_wait(call: Call, recorder: Recorder) -> bool:
    """Return whether a call may be recorded after its end.

    It may not if it begins a series, whose start it is, if samples have to come in order, or if it
    is under a sampled span.
    """
    if recorder.in_order or (recorder.sampled_context and recorder.trace() is not None):
        return False
    points = _known.get(_key(call))
    if points is None or points.era is not recorder.era:
        return False
    duration, tokens = points.duration, points.input
    if call.seconds is not None and (duration is None or not duration.has_begun):
        return False
    reports = call.usage is not None or call.reported is not None
    return not reports or (tokens is not None and tokens.has_begun)


def record(call: Call, recorder: Recorder) -> None:
    """Record an ended call. With the recorder's lock held."""
    key, usage = _key(call), call.usage
    points = _known.get(key)
    if points is None or points.era is not recorder.era:
        if len(_known) >= _MOST:  # programs may pass on names that clients choose
            _known.clear()
        points = _known[key] = _Points(recorder.era)
    if call.seconds is not None:
        point = points.duration
        if point is None:
            point = points.duration = _point(recorder, catalogue.MODEL_DURATION, call)
        point.record(call.seconds, call.ended)
    if usage is not None:
        point = points.input
        if point is None:
            point = points.input = _point(recorder, catalogue.TOKEN_USAGE, call, "input")
        point.record(float(usage.input), call.ended)
        if usage.output:  # embeddings have no output
            point = points.output
            if point is None:
                point = points.output = _point(recorder, catalogue.TOKEN_USAGE, call, "output")
            point.record(float(usage.output), call.ended)


def _point(
    recorder: Recorder, metric: catalogue.Metric, call: Call, token_type: str = ""
) -> DataPoint:
    attributes: dict[str, Any] = {
        catalogue.OPERATION_NAME: call.operation,
        catalogue.PROVIDER_NAME: call.provider,
        catalogue.REQUEST_MODEL: call.requested,
        catalogue.RESPONSE_MODEL: call.answered,
        catalogue.TOKEN_TYPE: token_type,
        catalogue.ERROR_TYPE: None if token_type else call.error_type,
    }
    if call.server is not None:
        attributes[catalogue.SERVER_ADDRESS], attributes[catalogue.SERVER_PORT] = call.server
    if call.tool != NO_TOOL:
        attributes[catalogue.TOOL_NAME] = call.tool
    attributes = {name: value for name, value in attributes.items() if value not in ("", None)}
    return recorder.operation((metric.name, *attributes.items()), metric, attributes)
