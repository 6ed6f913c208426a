"""A signal handler, a finaliser or a callback that asks metertap in the midst of metertap."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import cachetools
import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap.patching import imports

pytestmark = [pytest.mark.interpreter, pytest.mark.sdk]


def ends(do: Callable[[], object]) -> bool:
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


class Meanwhile:
    """Does something at each line that a thread passes, as a signal handler may.

    Three times at most, since that is long enough for lines that are passed often.
    """

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._seen: Counter[tuple[CodeType, int]] = Counter()

    def within(self, do: Callable[[], object]) -> None:
        sys.settrace(self._trace)
        try:
            do()
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        line = frame.f_code, frame.f_lineno
        if event == "line" and self._seen[line] < 3:
            self._seen[line] += 1
            self._do()
        return self._trace


def snapshot() -> None:
    assert metertap.get_all_metrics()["enabled"]


def name() -> None:
    cache = cachetools.LRUCache[int, int](2)
    metertap.name_cache(cache, "prices")
    assert cache.get(1) is None


def flush() -> None:
    metertap.instrument().flush()


@pytest.mark.parametrize(
    ("meanwhile", "do"),
    [(snapshot, snapshot), (name, name), (flush, flush)],
    ids=lambda function: function.__name__,
)
def test_a_signal_handler_that_interrupts_metertap_may_ask_it(
    meanwhile: Callable[[], object], do: Callable[[], object], tmp_path: Path
) -> None:
    with metertap.instrument(json_port=0, announce=False, history=tmp_path / "shop.db"):
        metertap.record_tool_call("search", success=True, latency_ms=1.0)
        do()
        meanwhile()
        assert ends(lambda: Meanwhile(meanwhile).within(do))


def test_a_handler_may_ask_what_is_measured_while_that_begins_and_ends() -> None:
    def again() -> None:
        metertap.instrument(json_port=0, announce=False).shutdown()

    tap = metertap.instrument(json_port=0, announce=False)
    tap.shutdown()
    assert ends(lambda: Meanwhile(tap.diagnosis).within(again))


def test_a_handler_may_begin_what_waits_for_an_import() -> None:
    def begins() -> None:
        """Nothing."""

    assert ends(
        lambda: Meanwhile(lambda: imports.forget(begins)).within(
            lambda: imports.before("a_library_that_is_absent", begins)
        )
    )
    imports.forget(begins)


def test_a_handler_may_look_up_a_key_while_its_reuse_is_noted() -> None:
    cache = cachetools.LRUCache[int, int](10)
    with metertap.instrument(json_endpoint=False, cost_repeats=True):
        assert ends(lambda: Meanwhile(lambda: cache.get(1)).within(lambda: cache.get(2)))


def test_a_callback_of_the_programs_may_read_the_figures() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    found: list[int] = []

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        calls = metertap.get_all_metrics()["tool_metrics"]["search"]["total_calls"]
        found.append(calls)
        yield Observation(calls)

    provider.get_meter("shop").create_observable_gauge("searches", callbacks=[observe])
    with metertap.instrument(json_port=0, announce=False, meter_provider=provider) as tap:
        metertap.record_tool_call("search", success=True, latency_ms=1.0)
        assert ends(reader.get_metrics_data)
        assert ends(tap.snapshot)
    assert found == [1, 1]
    provider.shutdown()
