"""Definitions and results of a framework's tools are weighed, once for each definition."""

from __future__ import annotations

from typing import Any

import pytest

import metertap
from metertap.measuring import wrappers
from metertap.state import recorder
from metertap.weight.definitions import Definition
from support.any_framework import Named

pytestmark = pytest.mark.interpreter


class Sized:
    """A tool with a definition of that size."""

    def __init__(self, size: int) -> None:
        self.size = size


class Weighed(Named):
    """A framework whose tools have definitions."""

    def __init__(self) -> None:
        super().__init__("weighed")
        self.tools: dict[str, Sized] = {"search": Sized(10), "fetch": Sized(20)}
        self.asked: list[str] = []

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str:
        return str(args[0])

    def tool_of(self, instance: Any, args: Any, kwargs: Any) -> Sized:
        return self.tools[args[0]]

    def definitions(self, instance: Any, args: Any, kwargs: Any) -> Any:
        self.asked.append(args[0])
        return self.tools.items()

    def define(self, tool: Sized) -> Definition:
        return Definition(tool.size, 0, 0)

    def size_of(self, result: str) -> int:
        return len(result)


def test_definitions_and_results_are_weighed() -> None:
    weighed = Weighed()
    call = wrappers.plain_wrapper(weighed)

    def run(name: str) -> None:
        assert call(lambda _name: "found", None, (name,), {}) == "found"

    def found() -> dict[str, tuple[int, int]]:
        weights = recorder().weight_figures()
        assert weights is not None
        return {
            weight.name: (0 if weight.definition is None else weight.definition.total, weight.total)
            for weight in weights
        }

    tap = metertap.instrument(json_endpoint=False)
    run("search")
    assert found() == {"search": (10, 5), "fetch": (20, 0)}
    run("search")
    assert weighed.asked == ["search"]  # the same tool is defined as it was
    weighed.tools["search"] = Sized(30)
    run("search")
    run("fetch")
    assert found() == {"search": (30, 15), "fetch": (20, 5)}
    assert weighed.asked == ["search", "search", "fetch"]
    tap.shutdown()
    weighed.tools["search"] = Sized(40)
    run("search")
    assert weighed.asked == ["search", "search", "fetch"]


def test_definitions_are_weighed_again_after_a_reset() -> None:
    weighed = Weighed()
    call = wrappers.plain_wrapper(weighed)
    for _ in range(2):
        with metertap.instrument(json_endpoint=False):
            call(lambda _name: "found", None, ("search",), {})
        metertap.reset()
    assert weighed.asked == ["search", "search"]


def test_nothing_is_defined_where_nothing_is_weighed() -> None:
    weighed = Weighed()
    with metertap.instrument(json_endpoint=False, weight=False):
        wrappers.plain_wrapper(weighed)(lambda _name: "found", None, ("search",), {})
    assert weighed.asked == []
