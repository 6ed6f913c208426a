"""Results pass as they are whose class cannot be hashed, or raises where it is or is compared."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

import metertap
from metertap import faults

pytestmark = pytest.mark.interpreter


class Compared(type):
    """A metaclass whose classes cannot be hashed, as Python has it."""

    def __eq__(cls, other: object) -> bool:
        return cls is other


class Interrupting(type):
    def __hash__(cls) -> NoReturn:
        raise KeyboardInterrupt

    def __eq__(cls, other: object) -> NoReturn:
        raise KeyboardInterrupt


class Telling(type):
    def __getattr__(cls, name: str) -> NoReturn:
        raise ValueError(name)


class Unhashable(metaclass=Compared):
    pass


class Hostile(metaclass=Interrupting):
    pass


class Asked(metaclass=Telling):
    pass


RESULTS = [
    pytest.param(Unhashable(), id="unhashable"),
    pytest.param(Hostile(), id="raises"),
    pytest.param(Asked(), id="raises where it is asked"),
]


@pytest.mark.parametrize("result", RESULTS)
def test_a_decorated_function_returns_it(result: Any) -> None:
    class Holder:
        @metertap.tool
        def method(self) -> Any:
            return result

    @metertap.tool
    def function() -> Any:
        metertap.cache_meter("answers").hit()
        return result

    with metertap.instrument(json_endpoint=False):
        for _ in range(2):
            assert function() is result
            assert Holder().method() is result
        assert faults.fault_counts() == {}
        tools = metertap.get_all_metrics()["tool_metrics"].values()
        assert [(tool["total_calls"], tool["active_calls"]) for tool in tools] == [(2, 0), (2, 0)]


@pytest.mark.parametrize("result", RESULTS)
def test_a_framework_returns_it(result: Any, framework: Any) -> None:
    framework.tools = {"search": lambda: result}
    assert framework.run("search") is result
    assert faults.fault_counts() == {}
