"""Usage of models that the program reports by hand."""

from __future__ import annotations

from metertap import faults
from metertap.costs import model_calls
from metertap.costs.call import unusable
from metertap.costs.usage import Unusable, Usage, checked, tokens
from metertap.recording.recorder import is_duration


def record_usage(
    *,
    provider: str,
    model: str,
    input_tokens: int,
    output_tokens: int = 0,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
    operation: str = model_calls.CHAT,
    seconds: float | None = None,
) -> None:
    """Count one call of a model that no client reports, for the tool that is running.

    `input_tokens` includes tokens that the provider had cached (`cached_tokens`) or has cached now
    (`cache_write_tokens`); `output_tokens` includes those of reasoning. `seconds` is the duration.
    """
    given = dict(locals())
    with faults.guarded("record_usage"):
        names = (provider, model, operation)
        if not all(isinstance(name, str) and name for name in names):
            faults.warn_once(
                "record_usage",
                "record_usage needs the names of a provider and a model; the call is not counted",
            )
            return
        call = model_calls.begin(provider, operation, model)
        if call is None:
            return
        call.model = call.requested
        try:
            if input_tokens is None or output_tokens is None:  # an unreported count is not 0
                raise Unusable("the input or the output is missing")
            call.usage = checked(
                Usage(
                    tokens(given, "input_tokens"),
                    tokens(given, "output_tokens"),
                    tokens(given, "cached_tokens"),
                    tokens(given, "cache_write_tokens"),
                    tokens(given, "reasoning_tokens"),
                )
            )
        except Unusable as problem:
            unusable(provider, problem)
        if seconds is not None:
            if is_duration(seconds):
                call.seconds = float(seconds)
            else:
                faults.warn_once(
                    "record_usage.seconds", "%s is not a duration in s", faults.shown(seconds)
                )
        call.end(is_timed=False)
