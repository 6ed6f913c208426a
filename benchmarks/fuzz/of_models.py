"""Readers of what models' clients and a table of prices say."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import metertap
from benchmarks.fuzz.changes import ODD, Target, changed
from metertap.costs.configured import own_prices
from metertap.costs.usage import MOST_TOKENS, Unusable, Usage


@contextmanager
def usage_of_models() -> Iterator[Target]:
    """Read the usage in a model's answer, price it, and show it."""
    from metertap_instrumentation.models import anthropic, google_genai, openai

    parts = {"cached_tokens": 5, "reasoning_tokens": 5, "audio_tokens": 1}
    said = {
        "input_tokens": 100,
        "output_tokens": 20,
        "input_tokens_details": parts,
        "output_tokens_details": parts,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 1},
        "cache_creation_input_tokens": 2,
        "prompt_token_count": 100,
        "candidates_token_count": 5,
        "thoughts_token_count": 2,
        "prompt_tokens_details": [{"token_count": 3, "modality": "AUDIO"}],
    }

    class Fields:
        def __init__(self, **fields: Any) -> None:
            vars(self).update(fields)

    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            return Fields(**{str(name): objects(inner) for name, inner in value.items()})
        return [objects(inner) for inner in value] if isinstance(value, list) else value

    def give(by: random.Random) -> None:
        found = changed(said, by)
        found = objects(found) if by.random() < 0.5 else found
        embedded = Fields(embeddings=[Fields(statistics=objects(changed({"token_count": 3}, by)))])
        for read_usage in (
            lambda: openai.usage_of(found),
            lambda: anthropic.usage_of(found, Usage(5, 5)),
            lambda: google_genai.usage_of(Fields(usage_metadata=found)),
            lambda: google_genai.embedding_usage_of(embedded),
        ):
            try:
                usage = read_usage()
            except Unusable:
                continue
            assert usage is None or all(0 <= count <= 9 * MOST_TOKENS for count in usage)
        odd: Any = [by.choice(ODD) for _ in range(6)]
        metertap.record_usage(
            provider=odd[0],
            model=odd[1],
            input_tokens=odd[2],
            output_tokens=odd[3],
            cached_tokens=odd[4],
            seconds=odd[5],
        )
        if by.random() < 0.002:
            json.dumps(metertap.get_all_metrics(), allow_nan=False)

    yield Target((Unusable,), give)


@contextmanager
def prices_of_a_file() -> Iterator[Target]:
    """Read prices of a configuration file, and price a call by them."""
    table = {"a": {"input": 1, "output": 2.5, "cached": "0.1", "cache_write": 3}, "b": {"input": 1}}

    def give(by: random.Random) -> None:
        found = changed(table, by)
        for price in own_prices(found if isinstance(found, dict) else table).values():
            assert price.cost(Usage(MOST_TOKENS, 5, 3, 2)) >= 0

    yield Target((), give)
