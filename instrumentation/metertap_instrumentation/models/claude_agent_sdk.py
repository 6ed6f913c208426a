"""Claude Agent SDK: what Claude's command line says of usage at the end of each turn.

The command line asks the models itself, in a process of its own. Its result has, by model, what
the conversation has used so far; in early versions what the turn used, of the model that answered.
It belongs to the tool that reads the result, and costs what the table of prices says: the command
line's own `total_cost_usd` is an estimate by an older table.

Not seen: a turn whose result the program never reads.
"""

from __future__ import annotations

import weakref
from typing import Any

from metertap import faults
from metertap.costs.model_calls import CHAT, ModelCall, unusable
from metertap.costs.usage import Unusable, Usage, part, tokens
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import comparable
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import streams
from metertap_instrumentation.models.anthropic import usage_of
from metertap_instrumentation.models.reports import Report, reported

_PROVIDER = "anthropic"


class Conversation:
    """One conversation with Claude: which model answered, and what each has used until now."""

    def __init__(self) -> None:
        self.model = ""
        self._used: dict[str, Usage] = {}

    def saw(self, message: dict[str, Any]) -> None:
        """Take a message of the command line; a result counts a call of each model."""
        if message.get("type") == "assistant":
            self.model = part(message, "message.model") or self.model
        elif message.get("type") == "result" and is_enabled():
            try:
                for report in self._reports(message):
                    if not (report.usage.input or report.usage.output):
                        continue
                    call = ModelCall("", CHAT, "", None)
                    if isinstance(took := message.get("duration_api_ms"), int | float):
                        call.seconds = took / 1000.0
                    reported(call, report)
            except Unusable as problem:
                unusable(_PROVIDER, problem)

    def end(self, error: BaseException | None = None, *, in_finaliser: bool = False) -> None:
        """Count nothing: what a turn used is counted when its result is read."""

    def _reports(self, result: dict[str, Any]) -> list[Report]:
        by_model = result.get("modelUsage")
        if not isinstance(by_model, dict) or not by_model:
            usage = usage_of(result.get("usage"))
            return [] if usage is None else [Report(_PROVIDER, self.model, usage)]
        found = []
        for name, said in by_model.items():
            whole, before = _of_model(said), self._used.get(name, Usage())
            self._used[name] = whole
            if whole.input < before.input or whole.output < before.output:
                before = Usage()  # the command line has begun anew
            new = Usage(*(now - then for now, then in zip(whole, before, strict=True)))
            provider = part(said, "provider") or _PROVIDER
            found.append(Report(provider, part(said, "canonicalModel") or name, new))
        return found


def _of_model(said: Any) -> Usage:
    read = tokens(said, "cacheReadInputTokens")
    written = tokens(said, "cacheCreationInputTokens")
    return Usage(
        tokens(said, "inputTokens") + read + written,
        tokens(said, "outputTokens"),
        read,
        written,
        web_searches=tokens(said, "webSearchRequests"),
    )


_conversations: weakref.WeakKeyDictionary[Any, Conversation] = weakref.WeakKeyDictionary()


def received(wrapped: Any, query: Any, args: Any, kwargs: Any) -> Any:
    """Return what hands on the messages of `Query.receive_messages()`, and looks at them."""
    try:
        messages = wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
    with faults.guarded("model report"):
        conversation = _conversations.setdefault(query, Conversation())
        return streams.watch(messages, conversation, Conversation.saw)
    return messages


_TARGETS = [comparable("Query.receive_messages", received)]
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.claude_agent_sdk"], [PatchSet("claude_agent_sdk._internal.query", _TARGETS)]
)
