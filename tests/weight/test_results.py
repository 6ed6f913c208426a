"""Sizes of results equal a count by hand; where none can be told stands a mark."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from metertap.weight.results import STRUCTURED, UNKNOWN, of_content, of_structure, of_text, of_value

TEXTS = ["", "plain", "über", "\U0001f40d" * 3, 'a\nb"c\\d', "\ud800", "x" * 100_000]


class Hostile:
    """An object that nothing can be asked."""

    def __len__(self) -> int:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError

    def __eq__(self, _other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


@dataclasses.dataclass
class Found:
    title: str
    pages: list[int]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_weighs_its_bytes(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert of_text(text) == of_value(text) == size
    assert of_content([{"type": "text", "text": text}, {"type": "text", "text": "é"}]) == size + 2


def test_the_longest_texts_weigh_what_can_be_told_at_once() -> None:
    assert of_text("x" * 5_000_000) == 5_000_000
    assert of_text("é" * 1_000_001) == UNKNOWN
    assert of_content([{"text": "seen"}, {"text": "é" * 1_000_001}]) == UNKNOWN
    assert of_structure(["seen", "é" * 1_000_001]) == UNKNOWN
    assert of_structure(["a" * 9_000_000]) == 9_000_004
    assert of_structure(["a" * 6_000_000] * 2) == UNKNOWN


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        {"type": "audio", "data": "AAAA"},
        {"type": "resource_link", "uri": "file:///x"},
        {"type": "resource", "resource": {"uri": "x", "blob": "AAAA"}},
        {"type": "text", "text": 7},
    ],
)
def test_content_that_is_no_text_makes_the_result_unknown(block: dict[str, Any]) -> None:
    assert of_content([{"type": "text", "text": "seen"}, block]) == UNKNOWN


def test_an_embedded_text_counts_and_too_many_parts_do_not() -> None:
    assert of_content([{"type": "resource", "resource": {"uri": "x", "text": "12345"}}]) == 5
    assert of_content([]) == 0
    assert of_content([{"text": "x"}] * 1000) == 1000
    assert of_content([{"text": "x"}] * 1001) == UNKNOWN


@pytest.mark.parametrize(
    "value", [b"bytes", bytearray(b"x"), iter([1]), (x for x in "ab"), object(), Hostile(), {1, 2}]
)
def test_what_has_no_size_is_unknown(value: Any) -> None:
    assert of_value(value) == UNKNOWN


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        0,
        -1.5,
        True,
        None,
        {"a": [1, 2.25, None, True, False, 'é"\n'], "b": {"c": {}}},
        [[[]], [{}], "x", ""],
        Found("ü", [1, 2, 3]),
    ],
)
def test_data_weighs_what_it_would_be_as_json(value: Any) -> None:
    assert of_value(value) == STRUCTURED
    told = dataclasses.asdict(value) if isinstance(value, Found) else value
    written = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    assert of_structure(value) == len(written.encode())


def test_data_that_is_large_or_odd_is_unknown() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (list(range(10_000)), {"a": object()}, circle, {"a": b"x"}, [Hostile()]):
        assert of_structure(value) == UNKNOWN
