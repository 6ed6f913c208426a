"""A program with tools and caches of its own, for every way of recording."""

from __future__ import annotations

from typing import Any

WAIT = 0.02
"""How long a call waits at least, in seconds."""


TIMES = 3


kept: list[Any] = []


SHOP = """
import asyncio
import time

def run(tool_name, seconds):
    time.sleep(seconds)

async def run_later(tool_name, seconds):
    await asyncio.sleep(seconds)

def run_in_steps(tool_name, seconds):
    time.sleep(seconds / 2)
    yield 1
    time.sleep(seconds / 2)

def find(key):
    return "value" if key == "key" else None
"""


LINES = """
[tool.metertap.tools]
"everyway.shop:run" = { name = "arg:tool_name" }
"everyway.shop:run_later" = { name = "arg:tool_name" }
"everyway.shop:run_in_steps" = { name = "arg:tool_name" }

[tool.metertap.caches]
"everyway.shop:find" = { name = "prompts" }
"""
