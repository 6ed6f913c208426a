"""Metrics of a forked process are those of the child."""

from __future__ import annotations

import os

import pytest

from support.forking import ran

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

pytest.importorskip("opentelemetry.instrumentation.system_metrics")


PROGRAM = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

def value(reader, name="process.open_file_descriptor.count"):
    data = reader.get_metrics_data()
    return [
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == name
        for point in metric.data.data_points
    ]

theirs = InMemoryMetricReader()
def begin():
    call()
    assert tap.pipeline.process_metrics.wait(60)
"""


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@needs_fork
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_child_reports_itself(whose: str) -> None:
    found = ran(
        PROGRAM
        + ("metrics.set_meter_provider(MeterProvider([theirs]))\n" if whose == "theirs" else "")
        + """
tap = metertap.instrument()
begin()

def child():
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    before = value(theirs) if tap.pipeline.owned is None else []
    call()
    reader = InMemoryMetricReader()
    (tap.pipeline.owned or tap.pipeline.provider).add_metric_reader(reader)
    count = value(reader)
    return [before, [item >= 100 for item in count]]

print(json.dumps(in_child(child)))
"""
    )
    assert found == [[], [True]]


@needs_fork
def test_a_child_that_is_forked_while_the_parent_imports_reports_itself_too() -> None:
    found = ran(
        PROGRAM
        + """
class Slow:
    entered = threading.Event()
    def find_spec(self, name, path=None, target=None):
        if name == "opentelemetry.instrumentation.system_metrics":
            Slow.entered.set()
            threading.Event().wait(0.3)

sys.meta_path.insert(0, Slow())
tap = metertap.instrument()
call()
Slow.entered.wait()

def child():
    begin()
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return len(value(reader))

print(json.dumps(in_child(child)))
"""
    )
    assert found == 1


@needs_fork
def test_a_child_of_a_parent_that_could_not_wait_does_without() -> None:
    found = ran(
        PROGRAM
        + """
from metertap_instrumentation.process import process_metrics
process_metrics._FORK_WAITS_SECONDS = 0.05
tap = metertap.instrument()

def child():
    call()
    while tap.diagnosis()["process_metrics"]["problem"] is None:
        threading.Event().wait(0.01)
    reader = InMemoryMetricReader()
    tap.pipeline.owned.add_metric_reader(reader)
    return [value(reader), tap.diagnosis()["process_metrics"]["problem"]]

with process_metrics._loading:
    found = in_child(child)
begin()
reader = InMemoryMetricReader()
tap.pipeline.owned.add_metric_reader(reader)
print(json.dumps([found, len(value(reader)), in_child(lambda: tap.diagnosis()["faults"])]))
"""
    )
    assert found == [[[], "forked while the parent imported it"], 1, {}]
