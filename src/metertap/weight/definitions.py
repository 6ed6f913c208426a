"""The size of a tool's definition, taken from the text that a client gets.

It is the length in UTF-8 of the JSON as written, including spaces and escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_SCHEMAS = frozenset({"inputSchema", "parameters", "input_schema"})
"""The names of a tool's argument schema in MCP, OpenAI and Anthropic."""
_SPACE = re.compile(r"[ \t\n\r]*")
_value_at = json.JSONDecoder().raw_decode


class Definition(NamedTuple):
    """The size of a tool's definition in bytes, and of two of its members."""

    total: int
    description: int
    """Bytes of the description as JSON, including the quotes; 0 without one."""
    schema: int
    """Bytes of the schema of the tool's arguments; 0 without one."""

    @property
    def other(self) -> int:
        """The bytes of everything else: names, other schemas, annotations, commas and braces."""
        return self.total - self.description - self.schema


def definition(text: str) -> Definition:
    """Measure a definition: a JSON object as it was written."""
    description = schema = 0
    for name, start, end in members(text, 0):
        if name == "description":
            description = utf8_length(text[start:end])
        elif name in _SCHEMAS:
            schema = utf8_length(text[start:end])
    return Definition(utf8_length(text), description, schema)


def of_function(name: str, description: str | None, schema: Any) -> Definition:
    """Measure a function in the form that a model's provider gets, as compact JSON.

    It has name, description and argument schema, without the frame that each provider adds.
    """
    told = {"name": name, "description": description or "", "parameters": schema}
    return definition(json.dumps(told, ensure_ascii=False, separators=(",", ":")))


def members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Yield each member of the JSON object at `start`: its name, and start and end of its value.

    The text must be valid JSON.
    """
    at = _after_space(text, start + 1)
    while text[at] != "}":
        name, at = _value_at(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # a colon
        _, end = _value_at(text, at)
        yield name, at, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each element of the JSON array at `start`, in valid JSON."""
    at = _after_space(text, start + 1)
    while text[at] != "]":
        _, end = _value_at(text, at)
        yield at, end
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def utf8_length(text: str) -> int:
    """Return the length of a text in UTF-8 bytes; half a surrogate pair counts three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
