"""Methods that something else has wrapped before: tracers, debuggers, decorators of the program."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wrapt

import metertap
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import stand_in

pytestmark = pytest.mark.interpreter

MODULE = "shop_that_is_traced"


class Shop:
    async def find(self, name: str) -> str:
        if not name:
            raise KeyError(name)
        return name * 2

    def sell(self, name: str) -> str:
        if not name:
            raise KeyError(name)
        return name * 2


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give on what an async function gives, as usual decorators do."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def synchronous(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run an async function to its end."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return wrapper


@wrapt.decorator
def by_wrapt(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


@pytest.fixture
def seen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a patch of `Shop` has seen, whose methods are wrapped before as the test says."""
    found: list[object] = []
    module = ModuleType(MODULE)
    vars(module)["Shop"] = Shop
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(Shop, "find", request.param(Shop.find))
    monkeypatch.setattr(Shop, "sell", request.param(Shop.sell))
    make = around("test", lambda *args: args[1:], lambda _note, result: found.append(result))
    patches = PatchSet(MODULE, [stand_in("Shop.find", make), stand_in("Shop.sell", make)])
    patches.install()
    assert patches.problem is None
    yield found
    patches.uninstall()


@pytest.mark.parametrize("seen", [traced, by_wrapt], indirect=True)
def test_what_gives_on_a_coroutine_is_measured_by_its_result(seen: list[object]) -> None:
    made: Any = Shop().find("tea")
    assert seen == []
    assert asyncio.run(made) == "teatea"
    assert seen == ["teatea"]


@pytest.mark.parametrize("seen", [synchronous], indirect=True)
def test_what_gives_no_coroutine_is_left_alone(seen: list[object]) -> None:
    assert not inspect.iscoroutinefunction(Shop.find)
    made: Any = Shop().find("tea")
    assert made == "teatea"
    assert seen == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@pytest.mark.parametrize("seen", [traced, by_wrapt], indirect=True)
@pytest.mark.usefixtures("seen")
def test_an_error_shows_no_frame_of_metertaps() -> None:
    ours = str(Path(metertap.__file__).parent)
    for call in (lambda: asyncio.run(Shop().find("")), lambda: Shop().sell("")):
        with pytest.raises(KeyError) as raised:
            call()
        files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert files != []
        assert not [name for name in files if name.startswith(ours)]
