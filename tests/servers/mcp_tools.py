"""Tools that end in every way there is, for servers of every kind.

Their messages mislead on purpose: who reads them takes one ending for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

NUMBER_SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
}


class Record(BaseModel):
    """A model that a tool's own data may fail to fit."""

    number: int


def validate_arguments(data: object) -> Record:
    """Named as the SDK's function is that finds a caller's errors."""
    return Record.model_validate(data)


@dataclass
class Gate:
    """Lets a test see that a tool has begun, and end it."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Ending:
    """One way for a call to end, and how it must be counted."""

    tool: str
    outcome: str
    error_type: str | None = None
    label: str | None = None
    """The name in the document, where it is not the tool's."""
    arguments: dict[str, Any] = field(default_factory=dict)
    cancel: bool = False
    """Whether the client cancels the call once it has begun."""

    def __str__(self) -> str:
        return self.tool


def endings(*, invalid: str, unknown: str) -> list[Ending]:
    """What every server can do; the error types say how it reports its caller's errors."""
    return [
        Ending("fine", "ok"),
        Ending("raises", "exception", "ValueError"),
        Ending("breaks_a_model", "exception", "ValidationError"),
        Ending("times_out", "timeout", "TimeoutError"),
        Ending("needs_a_number", "caller_error", invalid, arguments={"number": "many"}),
        Ending("made_up", "caller_error", unknown, label="_OTHER"),
        Ending("waits", "cancelled", "CancelledError", cancel=True),
    ]


def bodies(gate: Gate) -> dict[str, Callable[..., Awaitable[str]]]:
    """The tools behind `endings`, by name."""

    async def fine() -> str:
        return "Error executing tool fine: unknown tool"

    async def raises() -> str:
        raise ValueError("Unknown tool: raises")

    async def breaks_a_model() -> str:
        return str(validate_arguments({"number": "Input validation error"}))

    async def times_out() -> str:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return "never"

    async def needs_a_number(number: int) -> str:
        return str(number)

    async def waits() -> str:
        gate.entered.set()
        await gate.released.wait()
        return "released"

    functions = (fine, raises, breaks_a_model, times_out, needs_a_number, waits)
    return {function.__name__: function for function in functions}
