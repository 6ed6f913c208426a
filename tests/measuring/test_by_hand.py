"""The manual API: what is counted, under every state that the process can be in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import metertap
from support.decorated import coroutine, generator, plain
from support.documents import tools
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"success": True, "latency_ms": 12.5}, ("ok", 1, {})),
        ({"success": True}, ("ok", 0, {})),
        ({"success": True, "error_type": "ignored"}, ("ok", 0, {})),
        ({"success": False}, ("tool_error", 0, {"tool_error": 1})),
        ({"success": False, "latency_ms": 3}, ("tool_error", 1, {"tool_error": 1})),
        ({"success": False, "error_type": "KeyError"}, ("exception", 0, {"KeyError": 1})),
        ({"success": False, "error_type": "ReadTimeout"}, ("timeout", 0, {"ReadTimeout": 1})),
        (
            {"success": False, "latency_ms": 1.0, "error_type": "CancelledError"},
            ("cancelled", 0, {"CancelledError": 1}),
        ),
    ],
)
def test_a_record_by_hand_is_counted_and_its_latency_is_a_sample(
    arguments: dict[str, Any], expected: tuple[str, int, dict[str, int]]
) -> None:
    metertap.record_tool_call("search", **arguments)
    found = tools()["search"]
    ended, samples, error_types = expected
    assert {name: count for name, count in found["outcomes"].items() if count} == {ended: 1}
    assert found["window_samples"] == samples
    assert found["error_types"] == error_types
    assert found["last_call_timestamp"] is not None


@pytest.mark.parametrize(
    ("given", "ended", "error_type"),
    [
        (KeyError("k"), "exception", "KeyError"),
        (TimeoutError, "timeout", "TimeoutError"),
        ("", "tool_error", "tool_error"),
        (5, "exception", "_OTHER"),
    ],
)
def test_an_error_type_is_a_name_an_exception_or_its_class(
    given: Any, ended: str, error_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    metertap.record_tool_call("search", False, 1.0, given)
    found = tools()["search"]
    assert {name: count for name, count in found["outcomes"].items() if count} == {ended: 1}
    assert found["error_types"] == {error_type: 1}
    assert warnings_of(caplog) == (["5 is not an error type"] if given == 5 else [])


def use_everything() -> None:
    assert plain() == 1
    assert list(generator()) == [1]
    assert asyncio.run(coroutine()) == 1
    with pytest.raises(KeyError):
        plain(True)
    with metertap.measure_tool("block"):
        pass
    metertap.record_tool_call("record", True, 1.0)
    prompts = metertap.cache_meter("prompts")
    prompts.hit()
    prompts.evicted()
    metertap.record_cache_miss("prompts")
    metertap.record_cache_size_rejection("prompts")


@pytest.mark.parametrize(
    "variable", ["PERFORMANCE_METRICS_ENABLED=false", "OTEL_SDK_DISABLED=true"]
)
@pytest.mark.parametrize("instrumented", [True, False])
def test_disabled_nothing_is_counted_and_everything_works(
    variable: str, instrumented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable.split("="))
    if instrumented:
        assert not metertap.instrument().is_active
    use_everything()
    metertap.tool(len)
    document = metertap.get_all_metrics()
    assert document["enabled"] is False
    assert (document["tool_metrics"], document["cache_metrics"]) == ({}, {})


def test_calls_are_counted_before_instrument_and_not_after_shutdown() -> None:
    use_everything()
    with metertap.instrument(json_endpoint=False) as tap:
        assert tap.snapshot()["tool_metrics"]["plain"]["total_calls"] == 2
        use_everything()
    use_everything()
    assert tools()["plain"]["total_calls"] == 4
    assert tools()["record"]["successful_calls"] == 2
    assert metertap.get_all_metrics()["cache_metrics"]["prompts"]["total_requests"] == 4
    assert tap.snapshot()["tool_metrics"] == tools()


def test_an_interrupt_cancels_the_call_whoever_counts_it() -> None:
    interrupt = KeyboardInterrupt()

    def stop() -> str:
        """Stop."""
        raise interrupt

    def block() -> None:
        with metertap.measure_tool("block"):
            raise interrupt

    async def awaited() -> None:
        raise interrupt

    with metertap.instrument(json_endpoint=False) as tap:
        framework = pytest.importorskip("langchain_core.tools").tool("framework")(stop)
        decorated = metertap.tool(name="decorated")(stop)
        coroutine = metertap.tool(name="coroutine")(awaited)
        for call in (
            decorated,
            block,
            lambda: framework.invoke({}),
            lambda: coroutine().send(None),
        ):
            with pytest.raises(KeyboardInterrupt) as raised:
                call()
            assert raised.value is interrupt
        metertap.record_tool_call("recorded", False, 1.0, "KeyboardInterrupt")
        found = tap.snapshot()["tool_metrics"]
    assert set(found) == {"decorated", "coroutine", "block", "framework", "recorded"}
    for tool in found.values():
        assert tool["outcomes"]["cancelled"] == tool["total_calls"] == 1
        assert tool["failed_calls"] == tool["window_samples"] == 0
