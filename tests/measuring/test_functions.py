"""What wrapt calls instead of a handler: every call counted once, nothing else changed."""

from __future__ import annotations

import asyncio
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls, functions, slots, wrappers
from metertap.measuring.slots import ToolSlot
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.state import recorder

pytestmark = pytest.mark.interpreter

MODULE = "metertap_test_handlers"


class Handlers:
    def plain(self, ending: BaseException | None = None) -> str:
        if ending is not None:
            raise ending
        return "done"

    async def later(self, ending: BaseException | None = None) -> str:
        await asyncio.sleep(0)
        return self.plain(ending)


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """Patched as an instrumentor patches handlers whose names are known."""
    module = types.ModuleType(MODULE)
    owner = type("Owner", (Handlers,), dict(vars(Handlers)))
    module.Owner = owner  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    patches = PatchSet(
        MODULE,
        [
            Target("Owner.plain", wrappers.plain_wrapper(slot("plain"))),
            Target("Owner.later", wrappers.coroutine_wrapper(slot("later"))),
        ],
    )
    with metertap.instrument(json_endpoint=False):
        patches.install()
        yield owner()
        patches.uninstall()
    del sys.modules[MODULE]


def slot(name: str) -> ToolSlot:
    return ToolSlot(name, "library", calls.PATCH)


def call(handlers: Handlers, name: str, ending: BaseException | None = None) -> Any:
    result = getattr(handlers, name)(ending=ending)
    return asyncio.run(result) if name == "later" else result


def tool(name: str) -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"][name]
    return found


@pytest.mark.parametrize("name", ["plain", "later"])
@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (None, "ok"),
        (KeyError("k"), "exception"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_call_is_counted_by_how_it_ends(
    handlers: Handlers, name: str, ending: BaseException | None, outcome: str
) -> None:
    if ending is None:
        assert call(handlers, name) == "done"
    else:
        with pytest.raises(type(ending)) as raised:
            call(handlers, name, ending)
        if name == "plain":
            assert raised.value is ending
    assert {key: n for key, n in tool(name)["outcomes"].items() if n} == {outcome: 1}
    assert tool(name)["active_calls"] == 0


@pytest.mark.parametrize("name", ["plain", "later"])
def test_calls_go_on_being_counted_after_a_reset(handlers: Handlers, name: str) -> None:
    from metertap import state

    call(handlers, name)
    state.recorder().reset()
    call(handlers, name)
    call(handlers, name)
    assert tool(name)["total_calls"] == 2


def test_a_decorated_handler_that_is_patched_too_is_counted_once(handlers: Handlers) -> None:
    decorated = metertap.tool(name="plain")(lambda: "inner")
    calling = functions.plain(lambda: decorated(), slot("plain"))
    with metertap.instrument(json_endpoint=False):
        assert calling() == "inner"
        found = metertap.get_all_metrics()["tool_metrics"]
    assert sum(entry["total_calls"] for entry in found.values()) == 1


@pytest.mark.parametrize("name", ["plain", "later"])
def test_what_is_held_after_its_patch_is_undone_is_not_counted(name: str) -> None:
    of_patch = slot(name)
    held = functions.plain(Handlers.plain, of_patch)
    if name == "later":
        held = functions.coroutine(Handlers.later, of_patch)
    of_patch.close()
    assert of_patch.find() is None
    result = held(Handlers())
    assert (asyncio.run(result) if name == "later" else result) == "done"
    assert metertap.get_all_metrics()["tool_metrics"] == {}


def test_a_slot_asks_once_whether_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, False]
    monkeypatch.setattr(slots, "is_enabled", lambda: answers.pop(0))
    found = slot("plain")
    assert found.find() is found.find() is None
    assert answers == []
    assert faults.fault_counts() == {}
    found.forget()
    answers += [False, True, True]  # switched on meanwhile
    assert found.find() is None
    found.look_at("a result")  # from then on the series is kept
    assert found.find() is found.series is not None


def test_a_series_that_a_reset_forgets_while_it_is_looked_up_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up = recorder().tool_by_hand

    def meanwhile(name: str, source: str) -> Any:
        series = look_up(name, source)
        recorder().reset()
        return series

    found = slot("plain")
    found.look_at("a result")
    with monkeypatch.context() as patched:
        patched.setattr(recorder(), "tool_by_hand", meanwhile)
        forgotten = found.find()
    assert forgotten is not None
    assert found.series is None
    assert found.find() is found.series is not forgotten


@pytest.mark.skipif(sys.version_info < (3, 11), reason="on 3.10 our frame stays")
@pytest.mark.parametrize("name", ["plain", "later"])
def test_exceptions_of_patched_handlers_show_no_frame_of_ours(
    name: str, handlers: Handlers
) -> None:
    with pytest.raises(KeyError) as raised:
        call(handlers, name, KeyError("k"))
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert wrappers.__file__ not in {frame.filename for frame in frames}


class Faulty:
    """A measure that raises whatever it is asked."""

    def begin(self, *_call: Any) -> Any:
        if self.begins:
            return [None] * 10  # the frame of a call that has ended
        raise LookupError

    def ended(self, *_call: Any) -> None:
        raise LookupError

    raised = ended

    def __init__(self, begins: bool) -> None:
        self.begins = begins


@pytest.mark.faults
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("name", ["plain", "later"])
def test_a_measure_that_raises_is_a_fault_and_nothing_else(name: str, begins: bool) -> None:
    measure = Faulty(begins)

    def use(ending: BaseException | None) -> Any:
        if name == "plain":
            return wrappers.plain_wrapper(measure)(Handlers().plain, None, (ending,), {})
        made = wrappers.coroutine_wrapper(measure)(Handlers().later, None, (ending,), {})
        return asyncio.run(made)

    assert use(None) == "done"
    assert faults.fault_counts() == {"measure": 1}
    error = KeyError("k")
    with pytest.raises(KeyError) as raised:
        use(error)
    assert raised.value is error
    assert faults.fault_counts() == {"measure": 2 if begins else 3}


def test_lookups_of_a_task_that_outlives_its_call_are_nobodys() -> None:
    meter = metertap.cache_meter("prompts")
    tasks = []

    @metertap.tool
    async def spawns() -> None:
        meter.hit()

        async def later() -> None:
            await asyncio.sleep(0.01)
            meter.hit()

        tasks.append(asyncio.get_running_loop().create_task(later()))

    async def main() -> None:
        await spawns()
        await asyncio.gather(*tasks)
        meter.miss()

    with metertap.instrument(json_endpoint=False):
        asyncio.run(main())
        cache = metertap.get_all_metrics()["cache_metrics"]["prompts"]
    assert (cache["hits"], cache["misses"]) == (2, 1)
    assert cache["by_tool"] == {"spawns": {"hits": 1, "misses": 0, "hit_rate": 100.0}}


def test_after_a_nested_call_the_outer_one_is_current_again() -> None:
    meter = metertap.cache_meter("prompts")

    @metertap.tool
    def inner() -> None:
        meter.hit()

    @metertap.tool
    def outer() -> None:
        inner()
        meter.miss()
        inner()

    with metertap.instrument(json_endpoint=False):
        outer()
        meter.miss()
        cache = metertap.get_all_metrics()["cache_metrics"]["prompts"]
    assert cache["by_tool"] == {
        "inner": {"hits": 2, "misses": 0, "hit_rate": 100.0},
        "outer": {"hits": 0, "misses": 1, "hit_rate": 0.0},
    }
    assert (cache["hits"], cache["misses"]) == (2, 2)


def test_calls_that_hit_are_told_from_calls_that_missed() -> None:
    meter = metertap.cache_meter("prompts")

    @metertap.tool
    def search(*lookups: bool) -> None:
        for hit in lookups:
            if hit:
                meter.hit()
            else:
                meter.miss()

    with metertap.instrument(json_endpoint=False):
        for lookups in ([True], [True, True], [True, False], [False], []):
            search(*lookups)
        found = tool("search")
        with_cache = found["with_cache"]
        assert found["total_calls"] == 5
        assert (with_cache["all_hit"]["calls"], with_cache["missed"]["calls"]) == (2, 2)
        assert with_cache["all_hit"]["p50_latency_ms"] >= 0


def test_a_tool_that_asks_no_cache_says_nothing_of_caches() -> None:
    with metertap.instrument(json_endpoint=False):
        metertap.tool(name="search")(lambda: None)()
        assert tool("search")["with_cache"] is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="on 3.10 our frame stays")
def test_exceptions_of_calls_that_something_else_counts_show_no_frame_of_ours() -> None:
    @metertap.tool(name="search")
    def plain() -> None:
        raise KeyError("k")

    @metertap.tool(name="search")
    async def later() -> None:
        raise KeyError("k")

    with metertap.instrument(json_endpoint=False), metertap.measure_tool("search"):
        for call in (plain, lambda: asyncio.run(later())):
            with pytest.raises(KeyError) as raised:
                call()
            frames = traceback.extract_tb(raised.value.__traceback__)
            assert functions.__file__ not in {frame.filename for frame in frames}


@pytest.mark.faults
def test_a_fault_in_beginning_a_call_is_told(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "enter", lambda *_call: 1 / 0)
    assert handlers.plain() == "done"
    assert faults.fault_counts() == {"measure": 1}
