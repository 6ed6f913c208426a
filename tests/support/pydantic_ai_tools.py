"""Functions that an agent of pydantic-ai has as tools, and a run of one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    CallDeferred,
    RunContext,
)


class Unreachable(Exception):
    """What a tool raises."""


def plain(number: int = 1) -> int:
    return number


async def later(number: int = 1) -> int:
    await asyncio.sleep(0)
    return number


def is_deferred() -> str:
    raise CallDeferred


def wants_approval(context: RunContext[Any]) -> str:
    if not context.tool_call_approved:
        raise ApprovalRequired
    return "approved"


def run(made: Agent[Any, Any]) -> Any:
    """What the run gave, or the exception that ended it."""
    try:
        return made.run_sync("go").output
    except Exception as error:
        return error
