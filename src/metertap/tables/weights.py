"""Weights of tools as tables: by tool, the heaviest first, and recommendations."""

from __future__ import annotations

from metertap import text
from metertap.tables.sections import ToolWeight, Weights
from metertap.tables.table import Table

_TOOLS = (
    *("weight", "definition bytes", "tokens", "% of context", "results", "p50 bytes", "p95 bytes"),
    *("largest bytes", "p95 tokens", "tokens a day", "no size"),
)
_CHANGES = ("what could be lighter", "because", "confidence")


def tables(weights: Weights, uptime_seconds: float) -> list[Table]:
    """Return the tables of a document's `weight_metrics`, counted in that time."""
    made = [_tools(weights)]
    if weights["recommendations"]:
        changes = Table("", _CHANGES)
        changes.rows += [
            (item["text"], item["arithmetic"], item["confidence"])
            for item in weights["recommendations"]
        ]
        made.append(changes)
    made[0].title = heading(weights)
    sizes = [tool["results"] for tool in weights["tools"].values() if tool["results"]]
    made[-1].legend = (
        f"Tokens are estimated: {weights['definition_bytes_per_token']:g} bytes a "
        f"token of definitions, {weights['result_bytes_per_token']:g} of results."
    )
    if any(results["tokens_per_day"] is not None for results in sizes):
        span = text.duration(uptime_seconds)
        made[-1].legend += f"\nA day: at the rate of the {span} since counting began."
    if any(results["unknown"] for results in sizes):
        made[-1].legend += "\nNo size: results whose size nobody can tell, such as images."
    return made


def _count(tools: int) -> str:
    return "1 tool" if tools == 1 else f"{tools} tools"


def heading(weights: Weights) -> str:
    """Return a line on the definitions with which a session begins."""
    parts = [
        f"{source}: {text.ABOUT}{found['definition_tokens']} tokens of {_count(found['tools'])}"
        for source, found in weights["sources"].items()
    ]
    return f"weight of a session's definitions, {'; '.join(parts)}" if parts else "weight"


def _tools(weights: Weights) -> Table:
    table = Table("", _TOOLS, right=frozenset(_TOOLS[1:]))
    for name, tool in sorted(weights["tools"].items(), key=lambda item: -_heaviness(item[1])):
        row = [name, *[text.NONE] * 10]
        if (definition := tool["definition"]) is not None:
            row[1] = text.count(definition["bytes"])
            row[2] = _size(definition["tokens"], text.ABOUT)
            row[3] = text.percent(definition["context_share"])
        if (results := tool["results"]) is not None:
            about = text.ABOUT if results["method"] == "sample" else ""
            bytes_ = (results["p50_bytes"], results["p95_bytes"], results["max_bytes"])
            tokens = (results["p95_tokens"], results["tokens_per_day"])
            row[4] = text.count(results["weighed"] + results["not_in_sample"])
            row[5:8] = [_size(size, about) for size in bytes_]
            row[8:10] = [_size(size, text.ABOUT) for size in tokens]
            row[10] = text.count(results["unknown"])
        table.rows.append(row)
    return table


def _heaviness(tool: ToolWeight) -> float:
    """Return the tokens of a tool's definition and of one large result: the order of rows."""
    definition, results = tool["definition"], tool["results"]
    return (0 if definition is None else definition["tokens"]) + (
        0 if results is None else results["p95_tokens"] or results["max_tokens"] or 0
    )


def _size(value: float | None, about: str) -> str:
    return text.NONE if value is None else f"{about}{value:.0f}"
