"""A recorder that has recorded a little of everything."""

from __future__ import annotations

from metertap import outcomes
from metertap.recording import Recorder, ToolSeries


def used(recorder: Recorder) -> ToolSeries:
    tool = recorder.tool("search", "test")
    for latency_ms in (1.0, 2.0, 30.0):
        recorder.record_tool(tool, outcomes.OK, None, latency_ms)
    recorder.record_tool(tool, outcomes.EXCEPTION, "KeyError", 4.0)
    recorder.record_tool(tool, outcomes.CANCELLED)
    return tool
