"""Claude Agent SDK: the usage that Claude's command line reports at the end of each turn.

The command line asks the models itself, in its own process. Its result has the turn's usage in
`usage`, and in `modelUsage` that of the conversation so far by model, including sub-agents (early
versions lack it). `/clear` sets these sums to zero. A resumed conversation continues the sums of
its earlier processes. New usage belongs to the tool that reads the result, and costs what the price
table says: the command line's own `total_cost_usd`, also a sum so far, is an estimate by an older
table.

Not seen: a turn whose result the program never reads; sub-agents in the first turn after a
conversation was resumed.
"""

from __future__ import annotations

import weakref
from typing import Any

from metertap import faults
from metertap.costs.model_calls import CHAT, ModelCall
from metertap.costs.usage import Usage, attempt, part, tokens
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import streams
from metertap_instrumentation.models.anthropic import usage_of
from metertap_instrumentation.models.reports import Report, reported

_PROVIDER = "anthropic"


class Conversation:
    """One conversation with Claude: the model that answered, and each model's usage so far."""

    def __init__(self, *, is_resumed: bool) -> None:
        self.model = ""
        self._is_resumed = is_resumed
        self._used: dict[str, Usage] = {}

    def saw(self, message: dict[str, Any]) -> None:
        """Take a message of the command line; a result counts a call of each model."""
        if message.get("type") == "assistant":
            self.model = part(message, "message.model") or self.model
        elif message.get("type") == "conversation_reset":
            self._used.clear()
        elif message.get("type") == "result":
            for report in self._reports(message):
                if report.is_empty or not is_enabled():
                    continue
                call = ModelCall("", CHAT, "", None)
                if isinstance(took := message.get("duration_api_ms"), int | float):
                    call.seconds = took / 1000.0
                reported(call, report)

    def end(self, error: BaseException | None = None, *, in_finaliser: bool = False) -> None:
        """Do nothing: the usage of a turn is counted when its result is read."""

    def _reports(self, result: dict[str, Any]) -> list[Report]:
        by_model = result.get("modelUsage")
        if not isinstance(by_model, dict):
            by_model = {}
        was_resumed, self._is_resumed = self._is_resumed, False
        before, self._used = self._used, {}
        turn = attempt(usage_of, result.get("usage"))
        found = []
        for name, said in by_model.items():
            used, was = attempt(_of_model, said), before.get(name, Usage())
            self._used[name] = used if isinstance(used, Usage) else was
            # If a sum is less than before, sums began at zero again, and all of it is new.
            if isinstance(used, Usage) and all(map(int.__ge__, used, was)):
                used = Usage(*map(int.__sub__, used, was))
            found.append(Report(*_named(name, said), used))
        if by_model and not was_resumed:
            return found
        named = _named(self.model, by_model.get(self.model))
        return [] if turn is None else [Report(*named, turn)]


def _named(name: str, said: Any) -> tuple[str, str]:
    """Return a model's provider and name, given what is reported of it."""
    return part(said, "provider") or _PROVIDER, part(said, "canonicalModel") or name


def _of_model(said: Any) -> Usage:
    read = tokens(said, "cacheReadInputTokens")
    written = tokens(said, "cacheCreationInputTokens")
    return Usage(
        tokens(said, "inputTokens") + read + written,
        tokens(said, "outputTokens"),
        read,
        written,
        tokens(said, "thinkingTokens"),
        cache_write_1h=tokens(said, "cacheCreationEphemeral1hInputTokens"),
        web_searches=tokens(said, "webSearchRequests"),
    )


_conversations: weakref.WeakKeyDictionary[Any, Conversation] = weakref.WeakKeyDictionary()


def _is_resumed(query: Any) -> bool:
    """Return whether the conversation began in another process of the command line."""
    options = getattr(getattr(query, "transport", None), "_options", None)
    more = getattr(options, "extra_args", None) or {}
    names = ("resume", "continue_conversation")
    return any(getattr(options, name, None) for name in names) or bool(
        {"resume", "continue"} & {*more}
    )


def received(wrapped: Any, query: Any, args: Any, kwargs: Any) -> Any:
    """Return an iterator over the messages of `Query.receive_messages()` that looks at them."""
    try:
        messages = wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
    with faults.guarded("model report"):
        conversation = _conversations.get(query)
        if conversation is None:
            conversation = Conversation(is_resumed=_is_resumed(query))
            _conversations[query] = conversation
        return streams.watch(messages, conversation, Conversation.saw)
    return messages


# By wrapt, so that it stays an async generator function to `inspect`.
_TARGETS = [Target("Query.receive_messages", received)]
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.claude_agent_sdk"], [PatchSet("claude_agent_sdk._internal.query", _TARGETS)]
)
