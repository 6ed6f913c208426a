"""Tokens: counted where the tokeniser is installed, estimated where it is not."""

from __future__ import annotations

import sys

import pytest

from metertap.weight import tokens


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
