"""One call of a model, from its request to its record: its tool and its usage.

A client's adapter begins a call at the request, and ends it when the response is parsed or its
stream is over. The call belongs to the tool that was running when it began, wherever its stream is
read.

Clients are built on clients (litellm on openai's), and frameworks on both. Such a layer is the
`Outer` of the code inside it. A layer that counts keeps clients inside from counting. A layer that
only fills in counts if no client inside has counted.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from metertap import faults, outcomes
from metertap.costs import ledger, repeats
from metertap.costs.call import Call, Read
from metertap.costs.usage import copied
from metertap.labels import as_label
from metertap.measuring.calls import clock
from metertap.state import is_enabled, recorder
from metertap.unmocked import unmocked

_now = unmocked.time  # kept, as `clock` is: a program may replace the function in `time`
CHAT, EMBEDDINGS, GENERATE, COMPLETION = "chat", "embeddings", "generate_content", "text_completion"
"""Values of `gen_ai.operation.name`."""
UNKNOWN = "unknown"
"""The model of a call for which neither request nor response names one."""


class Outer:
    """A layer around model clients: whether it counts, and whether a client inside was called.

    Tasks, threads and callbacks that begin inside keep it in their contexts as long as they live.
    Once it `is_over`, their calls do not belong to it.
    """

    __slots__ = ("counts", "is_over", "was_seen", "within")

    def __init__(self, *, counts: bool) -> None:
        self.counts = counts
        self.is_over = self.was_seen = False
        self.within = layer = around()
        while layer is not None:  # or tasks that start each other would make an endless chain
            layer.within = _unended(layer.within)
            layer = layer.within

    def seen(self) -> None:
        """Note that a client was called, here and in all layers around."""
        layer: Outer | None = self
        while layer is not None:
            layer.was_seen = True
            layer = layer.within


outer: ContextVar[Outer | None] = ContextVar("metertap_model_layer", default=None)
"""The innermost layer around this code; it may be over."""


def around() -> Outer | None:
    """Return the innermost layer around this code that is not over."""
    return _unended(outer.get())


def _unended(layer: Outer | None) -> Outer | None:
    while layer is not None and layer.is_over:
        layer = layer.within
    return layer


class ModelCall(Call):
    """One call of a model in progress. `end` counts it once, however often it is called."""

    __slots__ = ()

    def stop_clock(self) -> None:
        """Stop the clock, since the program may read the result much later."""
        self.seconds = clock() - self.started

    def start_clock(self) -> None:
        """Let the clock run until the end, since the result is a stream."""
        self.seconds = None

    def end(
        self,
        error: BaseException | None = None,
        *,
        is_timed: bool = True,
        in_finaliser: bool = False,
    ) -> None:
        """Count the call; `error` is the exception that ended it. Never raises.

        A call without a clock has the given `seconds`, or none. A call that began before a reset,
        or before the fork of this process, is not counted.
        """
        recording = recorder()
        if self.is_over or self.era is not recording.era:
            return
        self.is_over = True
        self.ended = clock()
        self.at = _now()
        if is_timed and self.seconds is None:
            self.seconds = self.ended - self.started
        try:
            model = self.model
            if model and model != self.requested:
                model = as_label(model)
            self.answered = model
            self.model = model or self.requested or UNKNOWN
            if error is not None:
                self.error_type = outcomes.error_type(error)
            ledger.add(self, recording, in_finaliser)
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
    """Begin a call of a model; None if it is not counted, or is counted by an outer layer.

    `request` is the whole request, of which a salted hash is kept if repeats are looked for.
    """
    layer = around()
    if layer is not None:
        layer.seen()
        if layer.counts:
            return None
    if not is_enabled():
        return None
    model = as_label(requested) if isinstance(requested, str) else ""
    call = ModelCall(provider, operation, model, server)
    if ledger.failing and call.frame is not None:
        call.is_retry = ledger.failed_before(call.frame, provider, model)
    if request is not None and repeats.are_looked_for():
        with faults.guarded("model repeats"):  # a request may contain anything
            call.is_repeat = repeats.seen(call.tool, provider, request)
    return call


def report(
    call: ModelCall, read: Read, *found: Any, model: object = None, tier: object = None
) -> None:
    """Report what a response contains; of several responses, the last value counts.

    `read` gets `found`, and returns the usage, or None if none is reported. After an unusable one
    the call has none, whatever was reported before. `tier` is the service tier that the provider
    charged.
    """
    call.settle()
    call.take(read, *found)
    answered(call, model, tier)


def report_copy(
    call: ModelCall, read: Read, found: Any, *, model: object = None, tier: object = None
) -> None:
    """Report as `report` does, but read a copy of the usage only when figures are read."""
    copy = copied(found)
    if copy is None:
        report(call, read, found, model=model, tier=tier)
        return
    if call.reported is not None:
        call.settle()
    call.reported = read, copy
    # Inlined from `answered`, to save a call.
    if isinstance(model, str) and model:
        call.model = model
    if isinstance(tier, str):
        call.tier = as_label(tier)


def answered(call: ModelCall, model: object, tier: object) -> None:
    """Note the model and the tier that a response names."""
    if isinstance(model, str) and model:
        call.model = model
    if isinstance(tier, str):
        call.tier = as_label(tier)
