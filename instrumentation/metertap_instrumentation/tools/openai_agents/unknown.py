"""Tools that a model asked an agent for and that the agent has not.

There is nothing to call, so nothing to time. Such calls are counted together, whatever their names:
those a model made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import faults, outcomes
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap.state import is_enabled, recorder
from metertap_instrumentation.tools.openai_agents.functions import SOURCE


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped. Only some versions can answer the model instead of ending the run."""
    return [
        PatchSet(
            "agents.run_internal.turn_resolution",
            [
                Target("process_model_response", process),
                Target("_build_tool_not_found_output_items", answer, optional=True),
            ],
        )
    ]


def process(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`process_model_response(…)` finds the tools that one answer of the model asks for."""
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("tool openai-agents"):
            hide_frame(error)
            if type(error).__name__ == "ModelBehaviorError":
                _count(1, "ModelBehaviorError")
        raise


async def answer(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`_build_tool_not_found_output_items(calls=…, …)` tells the model instead."""
    with faults.guarded("tool openai-agents"):
        _count(len(kwargs["calls"]), outcomes.TOOL_ERROR)
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise


def _count(times: int, error_type: str) -> None:
    if is_enabled() and times:
        series = recorder().other_tool(SOURCE)
        for _ in range(times):
            # Nothing ran: in no time. Without any, it would be in the document only.
            recorder().record_tool(series, outcomes.CALLER_ERROR, error_type, 0.0)
