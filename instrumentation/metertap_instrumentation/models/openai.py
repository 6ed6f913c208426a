"""openai: chat completions, responses, completions and embeddings, of every compatible provider.

Every call passes `request` of the client, where it is counted (`stainless`). A response names the
model that answered and its tokens. A stream of chat completions does so in its last chunk, but only
if the program asked for it (`stream_options={"include_usage": True}`); a stream of `responses` does
so in its last event. Input tokens include the cached ones, output tokens those of reasoning.

Not seen: realtime and assistants, images, audio files, fine-tuning, batches; the usage of a
response that the program reads without parsing it (`with_streaming_response`, then lines or bytes).
"""

from __future__ import annotations

from typing import Any

from metertap.costs.model_calls import CHAT, COMPLETION, EMBEDDINGS, ModelCall, report
from metertap.costs.usage import Unusable, Usage, checked, part, tokens
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models.stainless import Requests

_OPERATIONS = {
    "/chat/completions": CHAT,
    "/responses": CHAT,
    "/completions": COMPLETION,
    "/embeddings": EMBEDDINGS,
}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Events of a stream of `responses` that have the whole response."""


def usage_of(found: Any) -> Usage | None:
    """Read the usage of a response, by the names of either API. Raises Unusable."""
    if found is None:
        return None
    said, taken = ("output", "input")
    if part(found, "input_tokens") is None:
        if part(found, "prompt_tokens") is None:
            return None
        said, taken = ("completion", "prompt")
    whole = part(found, "total_tokens")
    if part(found, f"{said}_tokens") is None and whole not in (
        None,
        part(found, f"{taken}_tokens"),
    ):
        raise Unusable(f"{said}_tokens is missing")
    return checked(
        Usage(
            tokens(found, f"{taken}_tokens"),
            tokens(found, f"{said}_tokens"),
            tokens(found, f"{taken}_tokens_details.cached_tokens"),
            0,
            tokens(found, f"{said}_tokens_details.reasoning_tokens"),
            tokens(found, f"{taken}_tokens_details.audio_tokens"),
            tokens(found, f"{said}_tokens_details.audio_tokens"),
        )
    )


def see(call: ModelCall, parsed: Any) -> None:
    """Report the usage in a response, a chunk or an event."""
    kind = getattr(parsed, "type", None)
    if isinstance(kind, str) and kind.startswith("response."):
        if kind not in _ENDS:
            return
        parsed = parsed.response
    report(
        call,
        usage_of,
        getattr(parsed, "usage", None),
        model=getattr(parsed, "model", None),
        tier=getattr(parsed, "service_tier", None),
    )


_requests = Requests("openai", "openai", _OPERATIONS, see)
INSTRUMENTATION = Instrumentation(LIBRARIES["models.openai"], _requests.patch_sets())
