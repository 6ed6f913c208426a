"""The weight of MCP's tools: definitions in answers to `tools/list`, and contents of results."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from metertap import catalogue
from metertap.state import recorder
from metertap.weight.results import of_value

if TYPE_CHECKING:
    from metertap.recording import ToolSeries, WeightSeries
    from metertap.weight.definitions import Definition
    from metertap_instrumentation.tools.mcp.operations import Kind

    Measure = Callable[[Any], Definition]

CLIENT_SOURCE = "mcp-client"
"""The source of the weights that clients see, of all servers together."""


def of_wire(tool: Mapping[str, Any]) -> Definition:
    """Measure a definition as the server writes it, apart from the rest of the message."""
    from metertap.weight.definitions import definition  # imported when figures are read

    text: bytes = importlib.import_module("pydantic_core").to_json(tool)
    return definition(text.decode())


def of_sent(tool: Any) -> Definition:
    """Measure a definition that a server of mcp 1.x is about to send."""
    return of_wire(tool.model_dump(by_alias=True, mode="json", exclude_none=True))


def of_received(tool: Any) -> Definition:
    """Measure a definition that a client has received, as the SDK would have sent it."""
    return of_wire(tool.model_dump(by_alias=True, mode="json", exclude_unset=True))


def listed(tools: Mapping[str, Any], measure: Measure, source: str, side: str) -> None:
    """Note definitions by the tools' names, to be measured when figures are read."""
    if recorder().weighs:
        for name, tool in tools.items():
            recorder().weight(name, source, side).defined_by(measure, tool)


def answered(series: ToolSeries, fields: Mapping[str, Any]) -> None:
    """Record the weight of a server's answer: its texts, as a model gets them."""
    weight = recorder().weight_of(series)
    if weight is not None and fields.get("content") is not None:
        weight.record(size(weight, fields))


def received(kind: Kind, fields: Mapping[str, Any]) -> None:
    """Record the size of a tool's result that a client received."""
    weight = kind.weight
    if weight is None:
        weight = kind.weight = (
            recorder().weight(kind.name or catalogue.OTHER, CLIENT_SOURCE, catalogue.CLIENT)
            if recorder().weighs
            else False
        )
    if weight:
        weight.record(size(weight, fields))


def size(weight: WeightSeries, fields: Mapping[str, Any]) -> int:
    """Return the size of a result with content, or a mark in its place. Never raises.

    Structured content repeats the texts, and counts only if there is no text.
    """
    content = fields["content"]
    if content:
        return weight.size_of_content(content)
    # The second name is that in mcp 2.x.
    structured = fields.get("structuredContent", fields.get("structured_content"))
    if structured is None:
        return weight.size_of_content(content)
    return weight.size(of_value, structured)
