"""The weights of a server's tools as a table, as JSON, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from metertap import text
from metertap.cli.weight.session import Listing, Tool
from metertap.install_command import install_command
from metertap.tables.table import Table
from metertap.weight import tokens
from metertap.weight.tokens import ABOUT_DEFINITIONS, Tokens

_HEADERS = ("tool", "bytes", "description", "schema", "tokens", "% of context")
_WHOLE = "all tools"


@dataclass(frozen=True, slots=True)
class Report:
    """A server's tools and the tokens of each, those with the largest definitions first."""

    listing: Listing
    weighed: list[tuple[Tool, Tokens]]
    context: int
    """The size of the model's context window, in tokens."""

    @property
    def bytes(self) -> int:
        """The bytes of all definitions together."""
        return sum(tool.size.total for tool, _ in self.weighed)

    @property
    def tokens(self) -> Tokens:
        """The tokens of all definitions together."""
        counts = [found for _, found in self.weighed]
        return Tokens(sum(one.number for one in counts), any(one.is_estimate for one in counts))

    def share(self, found: Tokens) -> float:
        """Return the percentage of the context window that so many tokens take."""
        return 100.0 * found.number / self.context


def report(listing: Listing, context: int) -> Report:
    """Count or estimate the tokens of each definition in a listing."""
    count = tokens.counter()
    weighed = []
    for tool in listing.tools:
        found = Tokens(tokens.of_definition(tool.size.total), True)
        if count is not None:
            with suppress(ValueError):  # it is too long for the tokeniser
                found = Tokens(count(tool.text), False)
        weighed.append((tool, found))
    weighed.sort(key=lambda item: (-item[0].size.total, item[0].name))
    return Report(listing, weighed, context)


def as_table(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    table = Table(_title(report), _HEADERS, right=frozenset(_HEADERS[1:]))
    table.rows += _rows(report)
    table.legend = _legend(report)
    return table


def as_markdown(report: Report) -> str:
    """Return the report as Markdown, for GitHub's summary of a job or a comment."""
    lines = [f"### {text.markdown(_title(report))}", ""]
    lines.append(f"| {' | '.join(_HEADERS)} |")
    lines.append("|---|" + "---:|" * (len(_HEADERS) - 1))
    lines += [f"| {' | '.join(map(text.markdown, row))} |" for row in _rows(report)]
    return "\n".join([*lines, "", _legend(report), ""])


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as a JSON document, for programs."""
    whole, listing = report.tokens, report.listing
    return {
        "server": {"name": listing.server, "version": listing.version},
        "context_tokens": report.context,
        "tokens_method": "estimate" if whole.is_estimate else tokens.ENCODING,
        "definition_bytes": report.bytes,
        "definition_tokens": whole.number,
        "context_share": report.share(whole),
        "prompts": listing.prompts,
        "resources": listing.resources,
        "tools": [
            {
                "name": tool.name,
                "definition_bytes": tool.size.total,
                "description_bytes": tool.size.description,
                "schema_bytes": tool.size.schema,
                "definition_tokens": found.number,
                "context_share": report.share(found),
            }
            for tool, found in report.weighed
        ],
    }


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    sizes = [tool.size for tool, _ in report.weighed]
    for tool, found in report.weighed:
        size = tool.size
        yield _row(report, tool.name, (size.total, size.description, size.schema), found)
    whole = (
        report.bytes,
        sum(size.description for size in sizes),
        sum(size.schema for size in sizes),
    )
    yield _row(report, _WHOLE, whole, report.tokens)


def _row(report: Report, name: str, sizes: tuple[int, int, int], found: Tokens) -> tuple[str, ...]:
    return (name, *map(str, sizes), _tokens(found), text.percent(report.share(found)))


def _tokens(found: Tokens) -> str:
    return f"{text.ABOUT if found.is_estimate else ''}{found.number}"


def _title(report: Report) -> str:
    listing = report.listing
    parts = [f"{listing.server} {listing.version}".strip() or "(no name)"]
    for count, thing in (
        (len(listing.tools), "tool"),
        (listing.prompts, "prompt"),
        (listing.resources, "resource"),
    ):
        if count or thing == "tool":
            parts.append(f"{count} {thing}{'' if count == 1 else 's'}")
    return ", ".join(parts)


def _legend(report: Report) -> str:
    told = f"Every session takes all of them, of a context of {report.context} tokens."
    if report.tokens.is_estimate:
        return f"{told}\n{ABOUT_DEFINITIONS}; counted with: {install_command('tokens')}"
    return f"{told}\nTokens as {tokens.ENCODING} counts them."
