"""Calls that wait in one list for several series: none is lost, counted twice or out of order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import BuiltinFunctionType

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, faults
from metertap.recording import DataPoint, Recorder, Route, ToolSeries
from metertap.recording.buffer import CHUNK, was_put
from metertap.recording.weight_series import WeightSeries
from metertap.state import recorder
from support.interrupting import everywhere, interrupted
from support.metric_data import points


@pytest.fixture
def used() -> Recorder:
    return Recorder()


def point_of(used: Recorder, version: str = "1") -> DataPoint:
    attributes = {
        catalogue.MCP_METHOD: "tools/call",
        catalogue.TOOL_NAME: "search",
        catalogue.MCP_PROTOCOL_VERSION: version,
    }
    return used.operation(version, catalogue.SERVER_DURATION, attributes)


class Calls:
    """Calls of one kind, of a tool that is served by `source`."""

    def __init__(self, used: Recorder, source: str = "mcp:shop", version: str = "1") -> None:
        self.tool: ToolSeries = used.tool("search", source)
        self.weight: WeightSeries = used.weight("search", source)
        self.point = point_of(used, version)
        self.route: Route = used.route(self.weight, self.tool, self.point)

    def call(self, seconds: float, ended: float = 1.0) -> None:
        """One call, whose request took twice as long."""
        self.take_tick()
        self.route.keep((ended, int(seconds), seconds, 2 * seconds))

    def take_tick(self) -> None:
        try:
            self.tool.tick()
        except StopIteration:
            self.tool.due()

    def begin(self) -> None:
        """The first call, which every series sees at once."""
        self.call(0.0, 0.0)
        assert self.route.waiting == 0

    def taken(self) -> tuple[int, int, int]:
        """How many calls each series has."""
        operations = self.point.series
        return (
            self.weight.figures().results,
            sum(self.tool.figures().counts.values()),
            operations.figures().calls,
        )


def test_a_call_waits_in_one_place_and_counts_on_every_series(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    for seconds in (1.0, 2.0):
        calls.call(seconds, 5.0)
    assert calls.route.waiting == 2
    assert calls.tool.waiting == calls.weight.waiting == calls.point.series.waiting == 2
    assert calls.tool.active == 0
    assert calls.taken() == (3, 3, 3)
    assert calls.route.waiting == 0
    assert calls.tool.figures().total_ms == 3000
    assert calls.point.series.figures().total_ms == 6000
    assert calls.weight.figures().total == 3
    assert calls.tool.ended == calls.point.series.ended == 5.0


def test_calls_of_one_route_are_in_order_already(
    used: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(used)
    calls.begin()
    monkeypatch.delattr("metertap.recording.routes._in_order")
    calls.call(1.0)
    assert calls.taken() == (2, 2, 2)


def test_calls_wait_without_a_function_of_ours_where_every_series_has_begun(
    used: Recorder,
) -> None:
    other = Calls(used)
    other.begin()
    used.route(other.tool, other.point)
    calls = Calls(used, version="2")
    calls.point.record(1.0, 1.0)  # on its own, as the first request of its kind is
    calls.call(1.0)
    for route in calls.tool.routes:
        route.keep((1.0, *[1.0 for _ in route.parts]))
        assert type(route.keep) is BuiltinFunctionType


def test_the_last_figures_stand_only_while_nothing_waits(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    series = calls.point.series
    assert series.figures() is series.same_figures()
    calls.call(1.0)
    assert series.same_figures() is None
    assert series.figures().calls == 2


@pytest.mark.parametrize(
    "others",
    [
        lambda used: [Calls(used), Calls(used, version="2")],
        lambda used: [Calls(used), Calls(used, source="mcp:other")],
        lambda used: [Calls(used), Calls(used, "mcp:other"), Calls(used, "mcp:other", "2")],
    ],
    ids=["two versions", "two servers", "both"],
)
def test_series_that_routes_share_get_calls_in_the_order_in_which_they_ended(
    others: Callable[[Recorder], list[Calls]], used: Recorder
) -> None:
    routes = others(used)
    for calls in routes:
        calls.begin()
    number = 3 * len(routes)
    for ended in range(number):
        routes[ended % len(routes)].call(float(ended + 1), float(ended + 1))
    window = [2000.0 * (ended + 1) for ended in range(number)]
    series = routes[0].point.series
    assert series.figures().calls == number + len(routes)
    assert series.window.newest(number) == window


def test_so_do_those_that_other_routes_share_with_these(used: Recorder) -> None:
    first, between = Calls(used), Calls(used, "mcp:other")
    elsewhere = {catalogue.MCP_METHOD: "tools/call", catalogue.TOOL_NAME: "elsewhere"}
    last = used.route(
        between.tool, used.operation("elsewhere", catalogue.SERVER_DURATION, elsewhere)
    )
    first.begin()
    between.begin()
    for ended in (1.0, 2.0):  # the first one is seen by every series at once
        between.take_tick()
        last.keep((ended, ended, ended))
    between.call(3.0, 3.0)
    first.call(4.0, 4.0)
    assert (last.waiting, between.route.waiting, first.route.waiting) == (1, 1, 1)
    first.tool.figures()  # it shares nothing with the last route, and an operation with the other
    between.tool.figures()
    assert between.tool.window.newest(2) == [2000.0, 3000.0]


def test_what_ends_otherwise_comes_after_the_calls_that_wait(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    calls.call(1.0)
    used.started(calls.tool)
    calls.tool.end("exception", "KeyError", 2000.0, 2.0)
    failed = used.operation(
        "failed", catalogue.SERVER_DURATION, {**calls.point.attributes, "error.type": "KeyError"}
    )
    failed.record(4.0, 2.0)
    calls.call(3.0)
    used.fold()
    assert calls.tool.window.newest(3) == [1000.0, 2000.0, 3000.0]
    assert calls.point.series.window.newest(3) == [2000.0, 4000.0, 6000.0]


def test_a_reader_that_comes_later_sees_the_next_call_of_each_data_point_at_once(
    used: Recorder,
) -> None:
    first, second = Calls(used), Calls(used, version="2")
    first.begin()
    second.begin()
    for calls in (first, second):
        calls.call(1.0)
        assert calls.route.waiting == 1
    used.fold()
    used.begin_again()
    for calls in (first, second):
        calls.call(1.0)
    assert first.route.waiting == second.route.waiting == 0


def test_calls_that_nobody_looks_at_are_folded_every_now_and_then(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    for _ in range(3 * CHUNK):
        calls.call(1.0)
    assert calls.tool.waiting <= CHUNK
    assert calls.point.series.waiting <= 2 * CHUNK
    assert calls.weight.waiting <= 2 * CHUNK
    assert calls.taken() == (3 * CHUNK + 1,) * 3


def test_the_same_parts_make_one_route(used: Recorder) -> None:
    assert Calls(used).route is Calls(used).route
    assert len(Calls(used).tool.routes) == 1


def test_a_provider_that_takes_samples_in_order_gets_them_at_once(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    used.in_order = True
    used._choose_appends()
    calls.call(1.0)
    assert calls.route.waiting == 0
    used.in_order = False
    used._choose_appends()
    calls.call(1.0)
    assert calls.route.waiting == 1


def test_a_call_under_a_span_has_its_context_on_every_series(used: Recorder) -> None:
    asked: list[object] = []

    def sampled() -> object:
        asked.append(None)
        return object()

    calls = Calls(used)
    calls.begin()
    used.trace_with(sampled)
    calls.call(1.0)
    assert len(asked) == 1
    calls.call(1.0, 7.0)
    assert calls.taken() == (3, 3, 3)
    assert calls.tool.ended == calls.point.series.ended == 7.0


def test_a_result_of_unknown_size_keeps_no_reader_waiting(used: Recorder) -> None:
    calls = Calls(used)
    for _ in range(3):
        calls.call(-1)
    assert calls.weight.waiting == 2  # the first one of the others took it along
    calls.call(1.0)
    assert calls.weight.waiting == 0
    assert calls.weight.figures().unknown == 3


@pytest.mark.parametrize("traces", [True, False])
def test_an_interrupt_of_a_call_that_is_not_merely_appended_loses_none(
    traces: bool, used: Recorder
) -> None:
    calls = Calls(used)
    calls.begin()

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        used.begin_again()
        before = calls.taken()[0]

        def keep() -> None:
            calls.take_tick()
            try:
                calls.route.keep((1.0, 1, 1.0, 2.0))
            except BaseException as error:
                if not was_put(error):
                    calls.tool.left()
                raise

        def check(number: int) -> None:
            assert calls.tool.active == 0, number
            taken = calls.taken()
            assert len(set(taken)) == 1, number
            assert taken[0] - before in {0, 1}, number

        return keep, check

    if traces:
        used.trace_with(object)
    assert everywhere(prepare) > 20
    assert calls.taken()[0] > 10


def test_instruments_get_what_figures_show() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        calls = Calls(recorder())
        for number in range(5):
            calls.call(float(number))
        (tool,) = points(reader, catalogue.TOOL_DURATION.name)
        (operation,) = points(reader, catalogue.SERVER_DURATION.name)
        (size,) = points(reader, catalogue.TOOL_RESULT_SIZE.name)
    assert (tool.count, operation.count, size.count) == (5, 5, 5)
    assert (tool.sum, operation.sum, size.sum) == (10.0, 20.0, 10)


def test_an_interrupt_loses_no_call_and_counts_none_twice() -> None:
    number, is_over = 0, False
    kept = []
    while not is_over:
        kept.append(used := Recorder())
        both = Calls(used), Calls(used, version="2")
        for calls in both:
            calls.begin()
            calls.call(1.0)
        is_over = not interrupted(both[0].tool.settle, number)
        assert both[0].taken()[0] == 4, number
        assert both[0].taken() == (4, 4, 4), number
        number += 1
    assert number > 10


@pytest.mark.faults
def test_a_fault_leaves_calls_where_they_are(
    monkeypatch: pytest.MonkeyPatch, used: Recorder
) -> None:
    calls = Calls(used)
    calls.begin()
    calls.call(1.0)

    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(DataPoint, "items", broken)
        assert calls.tool.figures().counts["ok"] == 1
    assert faults.fault_counts() == {"fold": 1}
    assert calls.taken() == (2, 2, 2)


def test_threads_keep_calls_while_others_look(used: Recorder) -> None:
    calls = Calls(used)
    calls.begin()
    each, threads = 2000, 4

    def work() -> None:
        for number in range(each):
            calls.call(1.0)
            if not number % 50:
                calls.taken()

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert calls.taken() == (each * threads + 1,) * 3
    assert calls.tool.active == 0
