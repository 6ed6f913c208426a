"""OpenAI Agents SDK: the usage that models report, if their client is unknown.

The runner calls `get_response` or `stream_response` of a `Model`, which a program or an extension
may define. A stream reports its usage in its last event.

Not seen: realtime and voice models; a call that failed, or whose model reports nothing.
"""

from __future__ import annotations

from typing import Any

from metertap.costs.usage import attempt
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import comparable
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import layers, reports
from metertap_instrumentation.models.openai import usage_of
from metertap_instrumentation.models.reports import Report, Reports


def read(model: Any, response: Any) -> Report | None:
    """Return the report of a response; a model's name may contain its provider before a slash."""
    usage = attempt(usage_of, getattr(response, "usage", None))
    named = getattr(response, "model", None) or getattr(model, "model", None)
    provider, slash, name = str(named or "").partition("/")
    if not slash:
        provider, name = "", provider
    return None if usage is None else Report(provider, name, usage)


def take(before: Any, event: Any) -> Any:
    """Keep the whole response of a stream, which is in its last event."""
    return getattr(event, "response", None) or before


_reports = Reports(read)
INSTRUMENTATION = Instrumentation(
    LIBRARIES["models.openai_agents"],
    [
        SubclassesPatchSet(
            "agents.models.interface",
            "Model",
            {
                "get_response": layers.coroutine(_reports),
                "stream_response": reports.stream(_reports, take),
            },
            target=comparable,
        )
    ],
)
