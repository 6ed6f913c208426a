"""LangChain: the usage that chat models report (`usage_metadata`), if their client is unknown.

Every call of a chat model passes `_generate`, `_agenerate`, `_stream` or `_astream` of its class;
an answer from LangChain's cache does not. Each chunk of a stream reports only what is new.

Not seen: models that are no chat models; a call that failed, or whose model reports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from metertap.costs.usage import Unusable, Usage, attempt, tokens
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import comparable
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import layers, reports
from metertap_instrumentation.models.reports import Report, Reports


def usage_of(found: Any) -> Usage:
    """Read a `usage_metadata`. Raises Unusable."""
    return Usage(
        tokens(found, "input_tokens"),
        tokens(found, "output_tokens"),
        tokens(found, "input_token_details.cache_read"),
        tokens(found, "input_token_details.cache_creation"),
        tokens(found, "output_token_details.reasoning"),
        tokens(found, "input_token_details.audio"),
        tokens(found, "output_token_details.audio"),
    )


class Said(NamedTuple):
    """The report in the messages of one answer: later ones add to the usage."""

    usage: Usage | Unusable = Usage()
    metadata: Mapping[str, Any] = MappingProxyType({})

    def with_message(self, message: Any) -> Said:
        """Add the report in `message`."""
        found, usage = getattr(message, "usage_metadata", None), self.usage
        if found and isinstance(usage, Usage):
            used = attempt(usage_of, found)
            if isinstance(used, Usage):
                used = Usage(*map(sum, zip(usage, used, strict=True)))
            usage = used
        metadata = getattr(message, "response_metadata", None) or {}
        return Said(usage, {**self.metadata, **metadata})


def read(model: Any, result: Any) -> Report:
    """Return the report of a chat result, or of a stream."""
    said = result
    if not isinstance(result, Said):
        said = Said()
        for generation in result.generations:
            said = said.with_message(generation.message)
    told, metadata = model._get_ls_params(), said.metadata
    provider = metadata.get("model_provider") or told.get("ls_provider") or model._llm_type
    name = metadata.get("model_name") or metadata.get("model") or told.get("ls_model_name")
    return Report(str(provider), str(name or ""), said.usage)


def take(said: Said | None, chunk: Any) -> Said:
    """Add a chunk's report now, since LangChain merges chunks in place."""
    return (said or Said()).with_message(chunk.message)


_reports = Reports(read)
_streamed = reports.stream(_reports, take)
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.langchain"],
    [
        SubclassesPatchSet(
            "langchain_core.language_models.chat_models",
            "BaseChatModel",
            {
                "_generate": layers.plain(_reports),
                "_agenerate": layers.coroutine(_reports),
                "_stream": _streamed,
                "_astream": _streamed,
            },
            target=comparable,
        )
    ],
)
