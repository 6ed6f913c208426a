"""Tools of the demo's server that seem to ask models: no model is called, the usage is made up.

They report their usage by `metertap.record_usage`, like a program whose client is not measured.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import metertap

_MOST_ANSWERS = 12
"""The size of the semantic cache: too small for all the questions that are repeated."""


def add_tools(tool: Callable[[Callable[..., Any]], Any]) -> None:
    """Add a tool with a semantic cache, and a tool that often fails after it has used a model."""
    answers: OrderedDict[str, str] = OrderedDict()
    summaries = itertools.count()
    cache = metertap.cache_meter("answers")

    @tool
    async def ask(question: str) -> str:
        """Answer a question: by a semantic cache, else by a large model."""
        metertap.record_usage(
            provider="openai",
            model="text-embedding-3-small",
            operation="embeddings",
            input_tokens=len(question),
        )
        if question in answers:
            cache.hit()
            answers.move_to_end(question)
            return answers[question]
        cache.miss()
        seconds = random.uniform(0.05, 0.1)
        await asyncio.sleep(seconds)
        metertap.record_usage(
            provider="openai",
            model="gpt-4o",
            input_tokens=random.randint(800, 1600),
            cached_tokens=512,
            output_tokens=random.randint(150, 400),
            seconds=seconds,
        )
        answers[question] = f"all there is to know of {question}"
        if len(answers) > _MOST_ANSWERS:
            answers.popitem(last=False)
            cache.evicted()
        return answers[question]

    @tool
    async def summarise(document: str) -> str:
        """Summarise a document by a large model: one answer in four cannot be used."""
        seconds = random.uniform(0.02, 0.05)
        await asyncio.sleep(seconds)
        metertap.record_usage(
            provider="anthropic",
            model="claude-sonnet-4-5",
            input_tokens=random.randint(3000, 6000),
            output_tokens=random.randint(200, 500),
            seconds=seconds,
        )
        if next(summaries) % 4 == 0:
            raise ValueError("the model's answer is no JSON")
        return f"summary of {document}"
