"""litellm: completions, responses and embeddings of every provider; sync, async, streamed.

A call is counted here and not further in: what litellm asks by openai's client, by itself or in a
thread is part of it, and so are its retries and fallbacks. Only litellm knows the provider, which
it names in the response or the stream. Streams are objects of a few classes, whose steps are
watched. An answer from litellm's own cache is no call of a model.

Not seen: images, audio, reranking; functions that the program imported by name (`from litellm
import completion`) before metertap, unless a client inside is measured itself; a stream's usage,
unless it was requested (`stream_options={"include_usage": True}`). If it was, and the provider does
not report it, litellm's own estimate counts.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from metertap.costs.model_calls import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    ModelCall,
    Outer,
    begin,
    report,
)
from metertap.costs.usage import Usage, checked, tokens
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import layers
from metertap_instrumentation.models.openai import usage_of
from metertap_instrumentation.models.providers import provider_named
from metertap_instrumentation.models.streams import ENDS

_PLACE = "model stream"
_CACHE = "cached_response"
"""The provider that litellm names for a stream from its own cache."""
_streams: weakref.WeakKeyDictionary[Any, ModelCall] = weakref.WeakKeyDictionary()


class Calls:
    """Counting of calls of one of litellm's functions: a `wrappers.Measure`."""

    def __init__(self, operation: str, *, model_at: int = 0) -> None:
        """Count calls whose model is the argument at that position."""
        self._operation = operation
        self._at = model_at

    def begin(self, _instance: Any, args: Any, kwargs: Any) -> Any:
        """Begin a call of a model; None if it is not counted."""
        model = str(args[self._at] if len(args) > self._at else kwargs.get("model") or "")
        prefix, _, bare = model.partition("/")
        known = getattr(sys.modules.get("litellm"), "model_cost", {}).get(model) or {}
        named = kwargs.get("custom_llm_provider") or (
            prefix if bare else known.get("litellm_provider", "openai")
        )
        request = {"args": args, **kwargs}
        call = begin(provider_named(str(named)), self._operation, bare or model, request=request)
        return None if call is None else (Outer(counts=True), call)

    def ended(self, begun: Any, response: Any) -> None:
        """Take the function's result: a whole response, or a stream."""
        call = begun[1]
        hidden = getattr(response, "_hidden_params", None)
        hidden = hidden if isinstance(hidden, dict) else {}
        named = hidden.get("custom_llm_provider") or getattr(response, "custom_llm_provider", None)
        if hidden.get("cache_hit") is True or named == _CACHE:
            return
        if isinstance(named, str):
            call.provider = provider_named(named)
        if hasattr(response, "__next__") or hasattr(response, "__anext__"):
            _streams[response] = call
            weakref.finalize(response, call.end, in_finaliser=True).atexit = False
            return
        try:
            see(call, response)
        finally:
            call.end()

    def raised(self, begun: Any, error: BaseException) -> None:
        """End a call that raised, and hide the wrapper's frame in the error."""
        hide_frame(error)
        if begun is not None:
            begun[1].end(error)


def see(call: ModelCall, response: Any) -> None:
    """Report the usage in a response, a chunk or an event; zero if none is given."""
    source = getattr(response, "response", None) or response
    report(
        call,
        usage_with_written,
        getattr(source, "usage", None),
        model=getattr(source, "model", None),
        tier=getattr(source, "service_tier", None),
    )


def usage_with_written(found: Any) -> Usage | None:
    """Read a usage, including tokens that the provider has just cached. Raises Unusable."""
    usage = usage_of(found)
    if usage is None:
        return None
    written = tokens(found, "cache_creation_input_tokens")
    details = getattr(found, "prompt_tokens_details", None)
    if written and getattr(details, "cache_creation_tokens", None) is None:
        # Versions that do not report these leave them out of the whole as well.
        usage = usage._replace(input=usage.input + written)
    usage = checked(usage._replace(cache_write=written))
    return usage if usage.input or usage.output else None


# A step takes the stream's call out of the table, since the stream may be closed during it.

_Step = tuple[Any, ModelCall]


def _taken(stream: Any, *_args: Any, **_kwargs: Any) -> _Step | None:
    call = _streams.pop(stream, None) if _streams else None
    return None if call is None else (stream, call)


def _stepped(step: _Step, item: Any) -> None:
    stream, call = step
    _streams[stream] = call
    see(call, item)


def _over(step: _Step, error: BaseException) -> None:
    step[1].end(None if isinstance(error, ENDS) else error)


def _closes(stream: Any, *_args: Any, **_kwargs: Any) -> None:
    step = _taken(stream)
    if step is not None:
        step[1].end()


def _functions(measured: dict[str, Calls]) -> list[Target]:
    made = []
    for name, measure in measured.items():
        made.append(Target(name, layers.plain(measure)))
        made.append(Target(f"a{name}", layers.coroutine(measure)))
    return made


def _steps(*classes: str) -> list[Target]:
    step, close = around(_PLACE, _taken, _stepped, _over), around(_PLACE, _closes)
    methods = {"__next__": step, "__anext__": step, "close": close, "aclose": close}
    return [
        stand_in(f"{owner}.{name}", make, optional=True, own=True)
        for owner in classes
        for name, make in methods.items()
    ]


_MAIN = {
    "completion": Calls(CHAT),
    "text_completion": Calls(COMPLETION),
    "embedding": Calls(EMBEDDINGS),
}
_RESPONSES = {"responses": Calls(CHAT, model_at=1)}
_ITERATORS = ("", "Sync", "Mock", "Cached")
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.litellm"],
    [
        # The package's own names may be other functions than those of its modules.
        PatchSet("litellm.main", _functions(_MAIN)),
        PatchSet("litellm.responses.main", _functions(_RESPONSES)),
        PatchSet("litellm", _functions({**_MAIN, **_RESPONSES})),
        PatchSet("litellm.litellm_core_utils.streaming_handler", _steps("CustomStreamWrapper")),
        PatchSet(
            "litellm.responses.streaming_iterator",
            _steps(*(f"{kind}ResponsesAPIStreamingIterator" for kind in _ITERATORS)),
        ),
        PatchSet(
            "litellm.responses.litellm_completion_transformation.streaming_iterator",
            _steps("LiteLLMCompletionStreamingIterator"),
            optional=True,
        ),
    ],
)
