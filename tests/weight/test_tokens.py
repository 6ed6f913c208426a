"""Tokens: counted where the tokeniser is installed, estimated where it is not."""

from __future__ import annotations

import json
import sys

import pytest

from metertap.cli.weight.report import report
from metertap.cli.weight.session import Listing, Tool
from metertap.weight import tokens
from metertap.weight.definitions import definition


def test_without_the_tokeniser_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    assert tokens.counter() is None


def test_the_tokeniser_counts_what_it_encodes() -> None:
    pytest.importorskip("bpe_openai")
    count = tokens.counter()
    assert count is not None
    assert (count(""), count("hello world")) == (0, 2)


def test_estimates_are_the_bytes_by_the_ratio() -> None:
    assert tokens.of_definition(4300) == 1000
    assert tokens.of_results(3500) == 1000


def test_a_definition_that_is_too_long_for_the_tokeniser_is_estimated() -> None:
    pytest.importorskip("bpe_openai")
    texts = [json.dumps({"name": name}) for name in ("a" * 1_000_000, "search")]
    tools = [Tool(text[10:20], text, definition(text)) for text in texts]
    found = report(Listing("odd", "1", tools, 0, 0), 200_000)
    assert [each.is_estimate for _, each in found.weighed] == [True, False]
    assert found.tokens.is_estimate
