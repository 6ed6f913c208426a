"""What is said to be heavy: from where on, and whether the arithmetic can be redone."""

from __future__ import annotations

import re

import pytest

from metertap.weight.advice import heavy_definition, heavy_results
from metertap.weight.definitions import Definition

CONTEXT = 200_000


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_a_definition_is_heavy_from_half_a_percent_of_the_context_on() -> None:
    (said,) = heavy_definition("search", Definition(4500, 500, 3900), 7, CONTEXT)
    assert said["kind"] == "heavy_definition"
    assert said["confidence"] == "medium"
    assert "most of it its schema; it was called 7 times" in said["text"]
    total, description, schema, again, ratio, tokens, share, context = numbers(said["arithmetic"])
    assert (total, description, schema, again, context) == (4500, 500, 3900, 4500, CONTEXT)
    assert tokens == pytest.approx(total / ratio, abs=1)
    assert share == pytest.approx(100 * tokens / CONTEXT, abs=0.05)
    (said,) = heavy_definition("search", Definition(4500, 3900, 500), 7, CONTEXT)
    assert "most of it its description" in said["text"]
    assert list(heavy_definition("search", Definition(3600, 500, 3000), 7, CONTEXT)) == []
    assert list(heavy_definition("search", Definition(4500, 500, 3900), 7, 10 * CONTEXT)) == []


def test_results_are_heavy_where_one_in_twenty_takes_a_twentieth_of_the_context() -> None:
    (said,) = heavy_results("search", 40_000.0, 20, CONTEXT)
    assert said["confidence"] == "medium"
    _, size, ratio, tokens, share, context = numbers(said["arithmetic"])
    assert (size, context) == (40_000, CONTEXT)
    assert tokens == pytest.approx(size / ratio, abs=1)
    assert share == pytest.approx(100 * tokens / CONTEXT, abs=0.05)
    (said,) = heavy_results("search", 40_000.0, 19, CONTEXT)
    assert said["confidence"] == "low"
    assert list(heavy_results("search", 30_000.0, 20, CONTEXT)) == []
    assert list(heavy_results("search", None, 0, CONTEXT)) == []


def test_the_limit_itself_is_heavy_and_the_share_is_of_the_context() -> None:
    (said,) = heavy_definition("search", Definition(4300, 2000, 2000), 7, CONTEXT)
    assert "most of it its schema" in said["text"]
    (said,) = heavy_definition("search", Definition(86_000, 500, 3900), 7, CONTEXT)
    assert numbers(said["arithmetic"])[-3:] == [20_000, 10.0, CONTEXT]
    (said,) = heavy_results("search", 350_000.0, 20, CONTEXT)
    assert numbers(said["arithmetic"])[-3:] == [100_000, 50.0, CONTEXT]
