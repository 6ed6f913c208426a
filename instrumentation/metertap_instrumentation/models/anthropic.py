"""anthropic: messages, also beta ones and those of Bedrock, Vertex and Foundry.

Every call passes the client's `request`, where it is counted (`stainless`). The response contains
its usage. A stream reports the input at its start, and the output so far towards its end, so a
stream that is cut off counts what was reported until then. The API counts `input_tokens` without
cached tokens; here they are included, as in the conventions.

Not seen: batches, counting tokens, the old completions; the usage of a response that the program
reads without parsing it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from metertap.costs.model_calls import CHAT, ModelCall, report, report_copy
from metertap.costs.usage import Unusable, Usage, checked, field, reader_of, tokens
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models.stainless import Requests

_OPERATIONS = {"/v1/messages": CHAT}


def usage_of(found: Any, before: Usage | None = None, *, is_start: bool = False) -> Usage | None:
    """Read a usage. Raises Unusable.

    Each usage of a stream covers everything so far; a count that a later one leaves out keeps its
    value from `before`. The one at a stream's start need not have an output.
    """
    if found is None:
        return None
    has_input = field(found, "input_tokens") is not None
    if not has_input and before is None:
        return None
    if not is_start and field(found, "output_tokens") is None:
        raise Unusable("output_tokens is missing")
    output = tokens(found, "output_tokens")
    thought = tokens(found, "output_tokens_details.thinking_tokens")
    if not has_input and before is not None:
        searches = max(before.web_searches, tokens(found, "server_tool_use.web_search_requests"))
        return checked(before._replace(output=output, reasoning=thought, web_searches=searches))
    cached = tokens(found, "cache_read_input_tokens")
    written = tokens(found, "cache_creation_input_tokens")
    return checked(
        Usage(
            tokens(found, "input_tokens") + cached + written,
            output,
            cached,
            written,
            thought,
            cache_write_1h=tokens(found, "cache_creation.ephemeral_1h_input_tokens"),
            web_searches=tokens(found, "server_tool_use.web_search_requests"),
        )
    )


def see(call: ModelCall, parsed: Any) -> None:
    """Report the usage in a message or an event of its stream."""
    get = reader_of(parsed)
    is_start = get("type") == "message_start"
    if is_start:
        get = reader_of(parsed.message)
    found = get("usage")
    if found is None:
        return
    call.settle()
    if is_start or call.usage is not None:
        read = partial(usage_of, before=call.usage, is_start=is_start)
        report(call, read, found, model=get("model"))
    else:
        report_copy(call, usage_of, found, model=get("model"))


_requests = Requests("anthropic", "anthropic", _OPERATIONS, see, ("usage", "message"))
INSTRUMENTATION = Instrumentation(LIBRARIES["models.anthropic"], _requests.patch_sets())
