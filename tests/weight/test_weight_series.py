"""The sizes of one tool's results: which are known, which are in the sample, what is exported."""

from __future__ import annotations

from typing import Any

import pytest

from metertap import catalogue
from metertap.recording import Recorder
from metertap.recording.figures import WeightFigures
from metertap.recording.weight_series import WeightSeries
from metertap.weight.definitions import Definition
from metertap.weight.results import of_value
from support.kept_instruments import KeptInstruments
from support.warned import warnings_of

RECORD = {"city": "x"}
SIZE = len('{"city":"x"}')


@pytest.fixture
def instruments() -> KeptInstruments:
    return KeptInstruments()


@pytest.fixture
def series(instruments: KeptInstruments) -> WeightSeries:
    recorder = Recorder()
    recorder.instruments = [instruments]
    return recorder.weight("weather", "manual", catalogue.CLIENT)


def weighed(series: WeightSeries, *results: Any) -> WeightFigures:
    for result in results:
        series.weigh(of_value, result)
    return series.figures()


def test_sizes_are_exported_in_bytes_and_in_order(
    series: WeightSeries, instruments: KeptInstruments
) -> None:
    found = weighed(series, "", "über", "x" * 40)
    assert (found.results, found.total, found.maximum) == (3, 45, 40)
    assert (found.unknown, found.skipped, found.is_sampled) == (0, 0, False)
    assert instruments.durations == [0, 5, 40]
    assert {item.metric for item in instruments.handed} == {"metertap.tool.result.size"}
    attributes = {catalogue.TOOL_NAME: "weather", catalogue.SIDE: catalogue.CLIENT}
    assert all(item.attributes == attributes for item in instruments.handed)


def test_the_first_eight_structures_are_sized_and_then_one_of_sixty_four(
    series: WeightSeries,
) -> None:
    found = weighed(series, *[RECORD] * 8)
    assert (found.results, found.skipped) == (8, 0)
    found = weighed(series, *[RECORD] * 56)
    assert (found.results, found.skipped) == (8, 56)
    found = weighed(series, RECORD, RECORD, "text")
    assert (found.results, found.skipped, found.is_sampled) == (10, 57, True)
    assert found.total == 9 * SIZE + len("text")


def test_what_has_no_size_is_counted_apart_and_told_of_once(
    series: WeightSeries, instruments: KeptInstruments, caplog: pytest.LogCaptureFixture
) -> None:
    found = weighed(series, b"picture", b"picture", [b"picture"])
    assert (found.results, found.unknown, found.skipped) == (0, 3, 0)
    assert (found.total, found.maximum) == (0, None)
    assert instruments.handed == []
    (warning,) = warnings_of(caplog)
    assert "what tool weather returned is not known (bytes)" in warning


def test_no_structure_is_no_sample(series: WeightSeries) -> None:
    assert weighed(series, b"picture", "text").is_sampled is False


def test_a_definition_is_shown_once_it_is_measured(series: WeightSeries) -> None:
    assert series.figures().definition is None
    series.defined_by(lambda size: Definition(size, 1, 2), 40)
    assert series.figures().definition is None
    series.look()
    assert series.figures().definition == Definition(40, 1, 2)
    series.defined_by(lambda _gone: None, 50)
    series.look()
    assert series.figures().definition == Definition(40, 1, 2)


@pytest.mark.faults
def test_a_size_that_cannot_be_taken_is_unknown(series: WeightSeries) -> None:
    def fails(_result: object) -> int:
        raise RuntimeError

    series.weigh(fails, "text")
    assert series.figures().unknown == 1
