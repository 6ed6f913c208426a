"""The text of a scrape: equal to the standard exporter's, in the format that is asked for."""

from __future__ import annotations

import gzip
import random
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, generate_latest, openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import metertap
from metertap import Tap
from metertap_exporters.exposition.accept import PLAIN, accepted, takes_gzip
from metertap_exporters.exposition.families import Family, Group, Series
from metertap_exporters.exposition.text import Exposition, only
from support.http import get
from support.waiting import wait_for

WITHOUT = ["system_metrics"]


@pytest.fixture
def provider() -> Iterator[MeterProvider]:
    provider = MeterProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def record_everything(provider: MeterProvider) -> None:
    """Record values, names and labels of every kind, as other instrumentations may."""

    def observed(_options: CallbackOptions) -> list[Observation]:
        return [Observation(1.5, {"k": "v"}), Observation(2, {"l": "v"})]

    meter = provider.get_meter("theirs", "1", schema_url="https://example.org/1")
    meter.create_counter("sold.total", "things", 'a \\ "b"\n c').add(
        1e7, {"a.b": 'x"\\\n', "n": [1, 2], "1z": True, "ü": "ü"}
    )
    meter.create_counter("sold_total", "By", "d").add(2, {"q": "1"})
    meter.create_up_down_counter("waiting", "{x}").add(-3)
    meter.create_gauge("speed", "m/s").set(1e300, {"z": "1"})
    meter.create_observable_gauge("observed", [observed], "1")
    bounds: dict[str, list[float]] = {"none": [], "below": [-1.0, 0.0, 1.0], "big": [1, 10, 1e7]}
    for name, advised in bounds.items():
        histogram = meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=advised)
        for value in (0.0, 0.3, 2.5e-7, 12345678.9):
            histogram.record(value)
        histogram.record(3, {"a": "b", "le": "5", "quantile": "0.5"})
    many = meter.create_counter("many")
    many.add(1_000_000)
    many.add(999_999, {"almost": "yes"})
    metertap.record_tool_call("search", True, 5.0)
    metertap.record_tool_call('a"\\\nb', False, 5.0, "ValueError")
    metertap.cache_meter("prompts").hit()


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_it_is_the_text_of_the_standard_exporter(
    provider: MeterProvider, is_openmetrics: bool
) -> None:
    with metertap.instrument(
        prometheus=True, meter_provider=provider, disabled_instrumentations=WITHOUT
    ) as tap:
        registry = CollectorRegistry()
        provider.add_metric_reader(PrometheusMetricReader(registry=registry))
        exporter = tap.pipeline.prometheus
        assert exporter is not None
        write: Any = generate_openmetrics if is_openmetrics else generate_latest
        for step in (record_everything, record_everything, lambda _provider: None):
            step(provider)  # again: most of the text is kept, and some labels are new
            provider.get_meter("late").create_counter("late").add(1, {f"l{step}": "x"})
            ours = exporter.text(is_openmetrics=is_openmetrics).partition(b"# HELP target")
            assert ours[2] == write(registry).partition(b"# HELP target")[2]


def test_numbers_are_written_as_prometheus_client_writes_them() -> None:
    chosen = random.Random(7)
    values = [0, 1, 999_999, 1_000_000, 10**20, -5, 0.1, 1e-9, 1e6, 123456.0, 1234567.0, 1e21]
    values += [float("inf"), float("-inf"), float("nan"), True, -1e7, 100000000000.0]
    values += [chosen.lognormvariate(0, 20) for _ in range(500)]
    family = Family(
        "x", "gauge", "", groups=[Group({}, frozenset(), [Series({}, value) for value in values])]
    )
    written = Exposition().text([family], is_openmetrics=False).decode().splitlines()[2:]
    assert written == [f"x {openmetrics.exposition.floatToGoString(value)}" for value in values]


def test_others_run_while_a_long_text_is_written() -> None:
    pauses = []
    series = [Series({"n": str(number)}, number) for number in range(5_000)]
    family = Family("x", "gauge", "", groups=[Group({}, frozenset({"n"}), series)])
    text = Exposition(lambda: pauses.append(None)).text([family], is_openmetrics=False)
    assert text.count(b"\n") == 5_002
    assert len(pauses) >= 10


def test_labels_that_are_gone_are_not_kept() -> None:
    exposition = Exposition()
    for number in range(3):
        series = Series({"n": str(number)}, 1)
        exposition.text(
            [Family("x", "gauge", "", groups=[Group({}, frozenset({"n"}), [series])])],
            is_openmetrics=False,
        )
        (group,) = exposition._kept["x", "gauge", ""].groups
        assert [kept.labels for kept in group.labels.values()] == [{"n": str(number)}]
    exposition.text([], is_openmetrics=False)
    assert exposition._kept == {}


def test_the_text_of_labels_is_written_once() -> None:
    exposition = Exposition()
    series = Series({"n": "1"}, 1)
    texts = []
    for _ in range(2):
        family = Family("x", "gauge", "", groups=[Group({}, frozenset({"n"}), [series])])
        exposition.text([family], is_openmetrics=False)
        (group,) = exposition._kept["x", "gauge", ""].groups
        texts += group.labels.values()
    assert texts[0] is texts[1]


# Exemplars


def exemplars(text: bytes) -> dict[str, tuple[dict[str, str], float]]:
    """Exemplars by the bucket or the counter that they stand at."""
    return {
        sample.labels.get("le", sample.name): (sample.exemplar.labels, sample.exemplar.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.exemplar is not None and "metertap" not in sample.name
    }


def test_exemplars_of_sampled_spans_are_in_the_openmetrics_text(provider: MeterProvider) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    with metertap.instrument(
        prometheus=True, meter_provider=provider, disabled_instrumentations=WITHOUT
    ) as tap:
        exporter = tap.pipeline.prometheus
        assert exporter is not None
        with tracer.start_as_current_span("request") as span:
            metertap.record_tool_call("search", True, 15.0)
        metertap.record_tool_call("search", True, 500.0)
        context = span.get_span_context()
        found = exemplars(exporter.text(is_openmetrics=True))
        assert found == {
            "0.02": (
                {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"},
                0.015,
            )
        }
        assert b" # {" not in exporter.text()


def test_exemplars_of_their_metrics_are_there_too_within_the_allowed_length() -> None:
    view = View(instrument_name="sold", attribute_keys={"shop"})
    provider = MeterProvider(views=[view], shutdown_on_exit=False)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    with metertap.instrument(prometheus=True, meter_provider=provider) as tap:
        exporter = tap.pipeline.prometheus
        assert exporter is not None
        metertap.cache_meter("any")
        sold = provider.get_meter("theirs").create_counter("sold")
        with tracer.start_as_current_span("request"):
            sold.add(2, {"shop": "a", "user.kind": "new", "address": "x" * 100})
        labels, value = exemplars(exporter.text(is_openmetrics=True))["sold_total"]
    assert value == 2
    assert list(labels)[:2] == ["trace_id", "span_id"]
    assert labels.get("user_kind", "new") == "new"
    assert sum(len(name) + len(text) for name, text in labels.items()) <= 128


# What is asked for

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("header", "content_type"),
    [
        (None, PLAIN.content_type),
        ("", PLAIN.content_type),
        ("*/*", PLAIN.content_type),
        ("text/html,application/xhtml+xml,*/*;q=0.8", PLAIN.content_type),
        ("application/json", PLAIN.content_type),
        ("text/plain;version=0.0.4", PLAIN.content_type),
        (
            "text/plain; version=1.0.0",
            "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        (PROMETHEUS_3, f"{OPENMETRICS}; escaping=allow-utf-8"),
        ("application/openmetrics-text; version=1.0.0", f"{OPENMETRICS}; escaping=underscores"),
        ('application/openmetrics-text; version="1.0.0"', f"{OPENMETRICS}; escaping=underscores"),
        ("application/openmetrics-text; version=0.0.1", PLAIN.content_type),
        ("application/openmetrics-text; version=2.0.0", PLAIN.content_type),
        ("application/openmetrics-text; version=zzz", PLAIN.content_type),
        ("application/openmetrics-text; version=1.x", PLAIN.content_type),
        ("application/openmetrics-text; version=", PLAIN.content_type),
        ("application/openmetrics-text; version=-1", PLAIN.content_type),
        (
            "application/openmetrics-text; version=1.0.0; escaping=dots",
            f"{OPENMETRICS}; escaping=underscores",
        ),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", PLAIN.content_type),
        ("application/openmetrics-text;q=0", PLAIN.content_type),
        ("application/openmetrics-text;q=nonsense", PLAIN.content_type),
        ("application/openmetrics-text;q=1e999", PLAIN.content_type),
        (";;;,,,===;q", PLAIN.content_type),
        # Reading a header of any length would hold up the program's own threads.
        (f"application/openmetrics-text{',' * 60_000}", PLAIN.content_type),
    ],
)
def test_the_format_is_what_the_client_prefers(header: str | None, content_type: str) -> None:
    assert accepted(header).content_type == content_type


def test_no_accept_header_is_an_error_nor_a_fault() -> None:
    chosen = random.Random(11)
    parts = ["application/openmetrics-text", "text/plain", "*/*", ";", ",", "=", "version", "q"]
    parts += ["1.0.0", "zzz", "9" * 60, "nan", "-1", "escaping", '"', "\\", "\xff", " ", "\t", "²"]
    with metertap.instrument(prometheus=True, disabled_instrumentations=WITHOUT) as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.prometheus_url) + "/metrics"
        headers = ["".join(chosen.choices(parts, k=chosen.randrange(12))) for _ in range(60)]
        headers += ["application/openmetrics-text; version=zzz", "text/plain;" * 5_000]
        headers += ["x," * 30_000, "application/openmetrics-text;version=" + "1." * 20_000]
        for header in headers:
            for name in ("Accept", "Accept-Encoding"):
                assert get(url, headers={name: header.strip()}).status == 200, header[:100]
        assert tap.diagnosis()["faults"] == {}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("identity", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("x-gzip", False),
        (f"gzip{',' * 60_000}", False),
    ],
)
def test_who_takes_gzip(header: str | None, expected: bool) -> None:
    assert takes_gzip(header) is expected


@pytest.fixture
def tap() -> Iterator[Tap]:
    with metertap.instrument(prometheus=True, disabled_instrumentations=WITHOUT) as tap:
        metertap.record_tool_call("search", True, 1.0)
        yield tap


def test_a_client_that_takes_gzip_gets_the_same_in_less(tap: Tap) -> None:
    url = wait_for(lambda: tap.prometheus_url) + "/metrics"
    plain = get(url)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read()
        assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == plain.body
    assert len(body) < len(plain.body) / 3


def test_a_client_may_ask_for_some_names_alone(tap: Tap) -> None:
    url = wait_for(lambda: tap.prometheus_url) + "/metrics"
    answer = get(f"{url}?name[]=metertap_tool_latency_seconds_count&name[]=nonsense")
    help_, type_, sample = answer.body.decode().splitlines()
    assert help_.startswith("# HELP metertap_tool_latency_seconds ")
    assert type_ == "# TYPE metertap_tool_latency_seconds summary"
    assert sample.startswith('metertap_tool_latency_seconds_count{gen_ai_tool_name="search"')
    assert only(b"# HELP x\n# TYPE x gauge\nx 1\n# EOF\n", frozenset()) == b"# EOF\n"
