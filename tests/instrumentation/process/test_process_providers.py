"""Metrics of the process follow the provider and the tap, and leave the application's own alone."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap_instrumentation.process import process_metrics
from support.process_figures import AT_ONCE, begin, by_type, found, reader_of_ours, set_provider
from support.providers import ApiProvider

pytestmark = pytest.mark.sdk

system_metrics = pytest.importorskip("opentelemetry.instrumentation.system_metrics")


def test_it_moves_to_a_provider_that_is_set_late() -> None:
    with metertap.instrument() as tap:
        begin(tap)
        ours = reader_of_ours(tap)
        assert found(ours) == AT_ONCE
        theirs, _ = set_provider()
        assert found(theirs) == AT_ONCE
        assert found(ours) == {}


def test_it_moves_before_it_is_imported() -> None:
    with metertap.instrument() as tap:
        theirs, _ = set_provider()
        begin(tap)
        assert found(theirs) == AT_ONCE


def test_a_provider_that_takes_no_readers_and_ours_both_get_it() -> None:
    api = ApiProvider()
    metrics.set_meter_provider(api)
    with metertap.instrument() as tap:
        begin(tap)
        assert found(reader_of_ours(tap)) == AT_ONCE
        seen = list(api.callbacks["cpython.gc.collections"](None))
        assert [item.value > 0 for item in seen[:1]] == [True]
    assert list(api.callbacks["cpython.gc.collections"](None)) == []


def test_a_move_does_not_hang_while_readers_collect() -> None:
    with metertap.instrument(prometheus=True) as tap:
        begin(tap)
        ours, ended = reader_of_ours(tap), threading.Event()

        def collect() -> None:
            while not ended.is_set():
                ours.get_metrics_data()
                tap.snapshot()

        threads = [threading.Thread(target=collect, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        theirs, _ = set_provider()
        assert found(theirs) == AT_ONCE
        ended.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def test_it_ends_with_the_tap_and_comes_back_once(
    theirs: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for times in range(3):
            with metertap.instrument() as tap:
                begin(tap)
                assert found(theirs) == AT_ONCE, times
            assert found(theirs) == {}
            if times == 1:
                metertap.reset()
    assert [record.getMessage() for record in caplog.records] == []


def test_it_comes_back_on_a_provider_of_ours() -> None:
    for _ in range(2):
        with metertap.instrument() as tap:
            begin(tap)
            assert found(reader_of_ours(tap)) == AT_ONCE


def test_a_shutdown_during_the_import_leaves_nothing(theirs: InMemoryMetricReader) -> None:
    with process_metrics._loading, metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        tap.shutdown()
    assert tap.pipeline.process_metrics.wait(60)
    assert found(theirs) == {}


def test_a_dead_provider_is_not_kept_alive() -> None:
    with metertap.instrument() as tap:
        begin(tap)
        ours = weakref.ref(tap.pipeline.owned)
        set_provider()
        gc.collect()
        assert ours() is None


@pytest.mark.parametrize("first", ["application", "metertap"])
def test_the_applications_own_is_left_alone_and_each_metric_is_there_once(
    first: str, theirs: InMemoryMetricReader
) -> None:
    if first == "application":
        system_metrics.SystemMetricsInstrumentor(labels={"of": "theirs"}).instrument()
    with metertap.instrument() as tap:
        begin(tap)
        if first == "metertap":
            assert found(theirs) == AT_ONCE
            system_metrics.SystemMetricsInstrumentor(labels={"of": "theirs"}).instrument()
        for _ in range(2):
            seen = found(theirs)
            assert {name: seen[name] for name in AT_ONCE} == AT_ONCE
            assert set(by_type(theirs, "process.cpu.time", "of")) == {"theirs"}
            assert "system.cpu.time" in seen  # the host is theirs to ask for
            system_metrics.SystemMetricsInstrumentor._instance.uninstrument()  # it goes on
        report = tap.diagnosis()["process_metrics"]
        assert (report["state"], report["metrics"]) == ("left to the application's own", [])
    assert {name: found(theirs)[name] for name in AT_ONCE} == AT_ONCE


@pytest.mark.parametrize("first", ["application", "metertap"])
def test_what_the_applications_own_was_not_asked_for_is_reported(
    first: str, theirs: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_metrics, "_source", None)  # as in a new process
    instrumentor = system_metrics.SystemMetricsInstrumentor
    config = {"process.cpu.time": ["user"]}
    if first == "application":
        instrumentor(config=config).instrument()
    with metertap.instrument() as tap:
        begin(tap)
        if first == "metertap":
            instrumentor(config=config).instrument()
        assert found(theirs) == {**AT_ONCE, "process.cpu.time": 1}
    assert found(theirs) == {"process.cpu.time": 1}


def test_an_instrumentor_that_was_made_and_not_used_changes_nothing(
    theirs: InMemoryMetricReader,
) -> None:
    made = system_metrics.SystemMetricsInstrumentor(config={"process.cpu.time": ["user"]})
    with metertap.instrument() as tap:
        begin(tap)
        assert found(theirs) == AT_ONCE
        assert not made.is_instrumented_by_opentelemetry
        assert made._config == {"process.cpu.time": ["user"]}
