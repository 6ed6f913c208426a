"""openai: chat completions, responses, completions and embeddings, of every compatible provider.

Every call passes the client's `request`, where it is counted (`stainless`). A response names the
model that answered and its tokens. A stream of chat completions does so in its last chunk, but only
if the program asked for it (`stream_options={"include_usage": True}`); a stream of `responses` does
so in its last event. Input tokens include cached ones, output tokens those of reasoning.

Not seen: realtime and assistants, images, audio files, fine-tuning, batches; the usage of a
response that the program reads without parsing it (`with_streaming_response`, then lines or bytes).
"""

from __future__ import annotations

from typing import Any

from metertap.costs.model_calls import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    ModelCall,
    answered,
    report_copy,
)
from metertap.costs.usage import (
    Unusable,
    Usage,
    checked,
    details,
    field,
    fields_of,
    reader_of,
    tokens,
)
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models.stainless import Requests

_OPERATIONS = {
    "/chat/completions": CHAT,
    "/responses": CHAT,
    "/completions": COMPLETION,
    "/embeddings": EMBEDDINGS,
}


_OF_CHAT = ("prompt_tokens", "completion_tokens")
_OF_RESPONSES = ("input_tokens", "output_tokens")


def usage_of(found: Any) -> Usage | None:
    """Read the usage of a response, by the field names of either API. Raises Unusable."""
    if found is None:
        return None
    found = fields_of(found)
    asked, said = _OF_CHAT
    taken = field(found, asked)
    if taken is None:
        asked, said = _OF_RESPONSES
        taken = field(found, asked)
        if taken is None:
            return None
    if field(found, said) is None and field(found, "total_tokens") not in (None, taken):
        raise Unusable(f"{said} is missing")
    cached = reasoning = heard = spoken = 0
    more = details(found, f"{asked}_details")
    if more is not None:
        cached, heard = tokens(more, "cached_tokens"), tokens(more, "audio_tokens")
    more = details(found, f"{said}_details")
    if more is not None:
        reasoning, spoken = tokens(more, "reasoning_tokens"), tokens(more, "audio_tokens")
    return checked(
        Usage(tokens(found, asked), tokens(found, said), cached, 0, reasoning, heard, spoken)
    )


def see(call: ModelCall, parsed: Any) -> None:
    """Report the usage in a response, a chunk or an event."""
    get = reader_of(parsed)
    response = get("response")  # an event of `responses`
    if response is not None:
        get = reader_of(response)
    usage, model, tier = get("usage"), get("model"), get("service_tier")
    if usage is not None:
        report_copy(call, usage_of, usage, model=model, tier=tier)
    elif tier is not None or model != call.model:
        answered(call, model, tier)


_requests = Requests("openai", "openai", _OPERATIONS, see, ("usage", "response"))
INSTRUMENTATION = Instrumentation(LIBRARIES["models.openai"], _requests.patch_sets())
