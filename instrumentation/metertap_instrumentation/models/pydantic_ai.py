"""pydantic-ai: the usage that models report, if their client is unknown.

Agents, and `pydantic_ai.direct`, call `request` or `request_stream` of a `Model`; models that wrap
others pass that on. The usage of a stream is there at the end of its block.

Not seen: embeddings and realtime models; a call that failed, or whose model reports nothing.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.caching.layers import setting
from metertap.costs.model_calls import outer
from metertap.costs.usage import Usage, attempt, tokens
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import comparable
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import layers
from metertap_instrumentation.models.reports import Report, Reports


def usage_of(found: Any) -> Usage:
    """Read a usage. Raises Unusable."""
    return Usage(
        tokens(found, "input_tokens"),
        tokens(found, "output_tokens"),
        tokens(found, "cache_read_tokens"),
        tokens(found, "cache_write_tokens"),
        tokens(found, "output_reasoning_tokens"),
        tokens(found, "input_audio_tokens"),
        tokens(found, "output_audio_tokens"),
        tokens(found, "cache_write_1h_tokens"),
    )


def read(model: Any, response: Any) -> Report | None:
    """Read the usage of a response, or of a stream."""
    found = response.usage() if callable(response.usage) else response.usage
    provider = getattr(response, "provider_name", None) or model.system
    name = str(response.model_name or model.model_name)
    return Report(str(provider), name, attempt(usage_of, found))


class _Opened:
    """The block that `request_stream` returns, in its layer while it is entered and left."""

    def __init__(self, block: Any, begun: Any) -> None:
        self._block = block
        self._begun = begun
        self._stream: Any = None

    async def __aenter__(self) -> Any:
        try:
            with setting(outer, self._begun[0]):
                self._stream = await self._block.__aenter__()
        except BaseException as error:
            hide_frame(error)
            raise
        return self._stream

    async def __aexit__(self, *error: Any) -> Any:
        try:
            with setting(outer, self._begun[0]):
                return await self._block.__aexit__(*error)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            self._begun[0].is_over = True
            with faults.guarded("model report"):
                _reports.ended(self._begun, self._stream)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._block, name)


def opened(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Return a block around that of `request_stream(…)`."""
    begun = None
    with faults.guarded("model report"):
        begun = _reports.begin(instance, args, kwargs)
    try:
        block = wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
    if begun is not None:
        with faults.guarded("model report"):
            return _Opened(block, begun)
    return block


_reports = Reports(read)
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.pydantic_ai"],
    [
        SubclassesPatchSet(
            "pydantic_ai.models",
            "Model",
            {"request": layers.coroutine(_reports), "request_stream": opened},
            target=comparable,
        )
    ],
)
