"""One call of a model, from its request to its record: its tool and its usage.

An adapter of a client begins a call at the request, and ends it when the parsed response is there
or its stream is over. The call belongs to the tool that was running when it began, wherever its
stream is read.

Clients are built on clients (litellm on openai's), and frameworks on both. While such a layer runs,
it is the `Outer` of the code inside. A layer that counts keeps clients inside from counting. A
layer that only fills in counts if no client inside has counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.costs import ledger, repeats
from metertap.costs.ledger import Ended
from metertap.costs.usage import Unusable, Usage
from metertap.labels import as_label
from metertap.measuring import calls
from metertap.measuring.calls import MISSED, SERIES, clock
from metertap.recording.operation_series import DataPoint
from metertap.recording.usage_series import NO_TOOL
from metertap.state import is_enabled, recorder

CHAT, EMBEDDINGS, GENERATE, COMPLETION = "chat", "embeddings", "generate_content", "text_completion"
"""Values of `gen_ai.operation.name`."""
UNKNOWN = "unknown"
"""The model of a call that names none, in the request or the response."""


Read = Callable[..., Usage | None]


class Outer:
    """A layer around model clients: whether it counts, and whether a client inside was asked."""

    __slots__ = ("counts", "was_seen", "within")

    def __init__(self, *, counts: bool) -> None:
        self.counts = counts
        self.was_seen = False
        self.within = outer.get()

    def seen(self) -> None:
        """Note that a client was asked, here and in all layers around this one."""
        layer: Outer | None = self
        while layer is not None:
            layer.was_seen = True
            layer = layer.within


class _Points:
    """Where calls of one kind are recorded in OpenTelemetry's histograms of model calls."""

    __slots__ = ("duration", "era", "input", "output")

    def __init__(self, era: object) -> None:
        self.era = era
        """The era of the recorder that has the points; in another one they are not in force."""
        self.duration: DataPoint | None = None
        self.input: DataPoint | None = None
        self.output: DataPoint | None = None


_points: dict[tuple[Any, ...], _Points] = {}
"""By tool, provider, operation, models, server and error type."""
_MOST_POINTS = 1_000

outer: ContextVar[Outer | None] = ContextVar("metertap_model_layer", default=None)
"""The innermost layer around this code."""


class ModelCall:
    """One call of a model in progress. `end` counts it, once, whoever calls it how often."""

    __slots__ = (
        "after_miss",
        "answered",
        "era",
        "frame",
        "is_over",
        "is_repeat",
        "is_retry",
        "model",
        "operation",
        "provider",
        "requested",
        "seconds",
        "server",
        "started",
        "tier",
        "tool",
        "usage",
    )

    def __init__(
        self, provider: str, operation: str, requested: str, server: tuple[str, int] | None
    ) -> None:
        frame = calls.in_progress()
        self.era = ledger.era()
        self.provider = provider
        self.operation = operation
        self.requested = requested
        self.server = server
        self.frame = frame
        self.tool = NO_TOOL if frame is None else frame[SERIES].name
        self.after_miss = frame is not None and frame[MISSED]
        self.is_retry = frame is not None and ledger.failed_before(frame, provider, requested)
        self.is_repeat = False
        self.is_over = False
        self.usage: Usage | None = None
        self.model = ""
        self.answered = ""
        """The model that the response names; None if the call failed."""
        self.tier = ""
        self.seconds: float | None = None
        self.started = clock()

    def stop_clock(self) -> None:
        """Stop the clock: what the call returned is not read yet."""
        self.seconds = clock() - self.started

    def start_clock(self) -> None:
        """Let the clock run until the end: the call returned a stream."""
        self.seconds = None

    def end(
        self,
        error: BaseException | None = None,
        *,
        is_timed: bool = True,
        in_finaliser: bool = False,
    ) -> None:
        """Count the call; `error` is what it raised. Never raises.

        A call without a clock has the `seconds` that were given, or none. A call that began before
        a reset, or in the process before a fork, is not counted here.
        """
        if self.is_over or self.era is not ledger.era():
            return
        self.is_over = True
        if is_timed and self.seconds is None:
            self.seconds = clock() - self.started
        try:
            self.answered = as_label(self.model) if self.model else ""
            self.model = self.answered or self.requested or UNKNOWN
            _measure(self, None if error is None else outcomes.error_type(error))
            ledger.add(
                Ended(
                    self.tool,
                    self.provider,
                    self.requested,
                    self.model,
                    self.tier,
                    self.usage,
                    self.seconds or 0.0,
                    time.time(),
                    self.frame,
                    self.after_miss,
                    error is not None,
                    self.is_retry,
                    self.is_repeat,
                ),
                in_finaliser=in_finaliser,
            )
        except Exception as fault:
            faults.fault("model call", fault)


def begin(
    provider: str,
    operation: str,
    requested: object,
    *,
    server: tuple[str, int] | None = None,
    request: Any = None,
) -> ModelCall | None:
    """Begin a call of a model; None where it is not to be counted, or is counted further out.

    `request` is the whole request. A salted hash of it is kept if repeats are looked for.
    """
    layer = outer.get()
    if layer is not None:
        layer.seen()
        if layer.counts:
            return None
    if not is_enabled():
        return None
    model = as_label(requested) if isinstance(requested, str) else ""
    call = ModelCall(provider, operation, model, server)
    if request is not None and repeats.are_looked_for():
        with faults.guarded("model repeats"):  # a request may have anything in it
            call.is_repeat = repeats.seen(call.tool, provider, request)
    return call


def report(
    call: ModelCall, read: Read, *found: Any, model: object = None, tier: object = None
) -> None:
    """Report what a response contains: the last response with a value counts.

    `read` gets what was `found`, and returns the usage, or None if none is reported. After an
    unusable one the call has none, whatever was reported before. `tier` is the tier of service
    that the provider says it charged.
    """
    try:
        usage = read(*found)
        if usage is not None:
            call.usage = usage
    except Unusable as problem:
        call.usage = None
        unusable(call.provider, problem)
    if isinstance(model, str) and model:
        call.model = model
    if isinstance(tier, str):
        call.tier = as_label(tier)


def unusable(provider: str, problem: Unusable) -> None:
    """Warn once that a provider reports an impossible usage: such calls have none."""
    faults.warn_once(
        f"usage {provider}",
        "a usage that %s reports cannot be used (%s); such calls count without tokens",
        provider,
        str(problem),
    )


def _measure(call: ModelCall, error_type: str | None) -> None:
    """Record the call to OpenTelemetry's histograms of model calls."""
    key = (call.tool, call.provider, call.operation, call.requested, call.answered, call.server)
    record = recorder()
    points, usage = _points.get((key, error_type)), call.usage
    if points is None or points.era is not record.era:
        if len(_points) >= _MOST_POINTS:  # programs may pass on names that clients choose
            _points.clear()
        points = _points[key, error_type] = _Points(record.era)
    if call.seconds is not None:
        point = points.duration
        if point is None:
            point = points.duration = _point(catalogue.MODEL_DURATION, call, error_type)
        point.record(call.seconds)
    if usage is not None:
        point = points.input
        if point is None:
            point = points.input = _point(catalogue.TOKEN_USAGE, call, None, "input")
        point.record(float(usage.input))
        if usage.output:  # embeddings have none
            point = points.output
            if point is None:
                point = points.output = _point(catalogue.TOKEN_USAGE, call, None, "output")
            point.record(float(usage.output))


def _point(
    metric: catalogue.Metric, call: ModelCall, error_type: str | None, token_type: str = ""
) -> DataPoint:
    attributes: dict[str, Any] = {
        catalogue.OPERATION_NAME: call.operation,
        catalogue.PROVIDER_NAME: call.provider,
        catalogue.REQUEST_MODEL: call.requested,
        catalogue.RESPONSE_MODEL: call.answered,
        catalogue.TOKEN_TYPE: token_type,
        catalogue.ERROR_TYPE: error_type,
    }
    if call.server is not None:
        attributes[catalogue.SERVER_ADDRESS], attributes[catalogue.SERVER_PORT] = call.server
    if call.tool != NO_TOOL:
        attributes[catalogue.TOOL_NAME] = call.tool
    attributes = {name: value for name, value in attributes.items() if value not in ("", None)}
    return recorder().operation((metric.name, *attributes.items()), metric, attributes)
