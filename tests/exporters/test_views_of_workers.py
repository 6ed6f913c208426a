"""What the views show where one process answers for several workers, which a test makes itself."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from metertap import faults, outcomes, state
from metertap.recording import Recorder
from metertap.workers.holder import Gathered, Worker
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.sections import of_process, of_recorder
from metertap_exporters.exposition import summed
from metertap_exporters.exposition.families import Family, Group, Series
from metertap_exporters.host import NoHost
from metertap_exporters.http.app import Response
from metertap_exporters.json import foreign, system
from metertap_exporters.json.foreign import ForeignCounts, ForeignTool
from metertap_exporters.json.reader import JsonSnapshot, is_prometheus
from metertap_exporters.prometheus import PrometheusExporter
from support.exposition import key, samples

OTHER, LOST = 9_004_242, 9_004_243  # greater than any process id


def ledger_of(recorder: Recorder, sold: int) -> Ledger:
    def families() -> list[Family]:
        series = Series({"shop": "a"}, sold)
        return [Family("sold", "counter", "", groups=[Group({}, frozenset({"shop"}), [series])])]

    sections = [
        *of_recorder(recorder),
        of_process(lambda figures: system.taken(figures)._replace(threads=2)),
        foreign.section(lambda: [lookups(sold)]),
        summed.section(families),
    ]
    return Ledger(recorder, sections)


def lookups(count: int) -> ForeignTool:
    tool = ForeignTool("lookup", "theirs")
    tool.add_counts(ForeignCounts(count, 0, 1.0, 0.1, 0.2, (1.0,), (count, 0), {}))
    return tool


class Workers:
    """This process, another that was reached, and a third that was not; two have ended."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        other = Recorder()
        self._ledgers = {os.getpid(): ledger_of(state.recorder(), 2), OTHER: ledger_of(other, 3)}
        for recorder, latencies in ((state.recorder(), [10.0]), (other, [20.0, 30.0])):
            for latency_ms in latencies:
                recorder.record_tool(recorder.tool("search", "a"), outcomes.OK, None, latency_ms)

    def gathered(self, names: Sequence[str]) -> Gathered:
        self.asked.append(names)
        sheets: dict[int, Any] = {pid: ledger.now(names) for pid, ledger in self._ledgers.items()}
        merged = {
            name: Merged().of(self._ledgers[os.getpid()].sections[name], list(sheets.values()))
            for name in names
        }
        workers = (
            Worker(os.getpid(), "mine", "holds the port", 0.0),
            Worker(OTHER, "theirs", "reached", 0.5),
            Worker(LOST, "", "not reached", 0.0, "it does not answer"),
        )
        return Gathered(merged, workers, 2, 1, {**sheets, LOST: {}})


def asked_json(view: JsonSnapshot, query: str = "") -> Any:
    answer = view._metrics({"QUERY_STRING": query})
    assert answer.status == 200
    return json.loads(answer.body)


def asked_text(view: PrometheusExporter, query: str = "") -> Any:
    answer = view._route({"QUERY_STRING": query})
    assert answer.status == 200
    return samples(answer.body)


def refusal(answer: Response) -> str:
    assert answer.status == 404
    message: str = json.loads(answer.body)["error"]["message"]
    return message


def test_the_diagnosis_tells_the_workers_and_their_calls(document: JsonSnapshot) -> None:
    found = document._diagnosis()
    assert found["calls_of_all_workers"] == {"search": 3}
    assert len(found["workers"]) == 3
    assert (found["ended_workers"], found["killed_workers"]) == (2, 1)


@pytest.fixture
def document() -> JsonSnapshot:
    view = JsonSnapshot()
    view.group = Workers()  # type: ignore[assignment]
    return view


@pytest.fixture
def exporter() -> PrometheusExporter:
    view = PrometheusExporter()
    view.group = Workers()  # type: ignore[assignment]
    return view


def test_the_document_is_of_all_workers_together(document: JsonSnapshot) -> None:
    found = asked_json(document)
    tools = found["tool_metrics"]
    assert (tools["search"]["total_calls"], tools["search"]["p50_latency_ms"]) == (3, 20.0)
    assert tools["lookup"]["total_calls"] == 5
    assert (tools["lookup"]["min_latency_ms"], tools["lookup"]["max_latency_ms"]) == (100.0, 200.0)
    assert tools["lookup"]["total_latency_ms"] == 2000.0
    assert (found["ended_workers"], found["killed_workers"]) == (2, 1)
    assert [(item["pid"], item["state"]) for item in found["workers"]] == [
        (os.getpid(), "holds the port"),
        (OTHER, "reached"),
        (LOST, "not reached"),
    ]
    assert found["system_metrics"]["process"]["threads"] == 4
    assert json.loads(document.text())["tool_metrics"] == tools


def test_the_document_of_one_worker_is_its_own(document: JsonSnapshot) -> None:
    for pid, calls, sold, instance in ((os.getpid(), 1, 2, "mine"), (OTHER, 2, 3, "theirs")):
        found = asked_json(document, f"worker={pid}")
        assert found["tool_metrics"]["search"]["total_calls"] == calls
        assert found["tool_metrics"]["lookup"]["total_calls"] == sold
        assert found["service"]["instance_id"] == instance
        assert [item["pid"] for item in found["workers"]] == [pid]
        assert found["system_metrics"]["process"]["threads"] == 2
        assert found["ended_workers"] == 0


@pytest.mark.parametrize("asked", ["5", "each", "x", str(LOST)])
def test_a_worker_of_whom_nothing_is_known_is_not_found(asked: str, document: JsonSnapshot) -> None:
    said = refusal(document._metrics({"QUERY_STRING": f"worker={asked}"}))
    assert said == f"nothing is known of a worker {asked}; there is {os.getpid()}, {OTHER}, {LOST}"


def test_a_process_alone_is_its_own_worker() -> None:
    view, exporter = JsonSnapshot(), PrometheusExporter()
    recorder = state.recorder()
    recorder.record_tool(recorder.tool("search", "a"), outcomes.OK, None, 10.0)
    assert asked_json(view, f"worker={os.getpid()}")["tool_metrics"].keys() == {"search"}
    count = "metertap_tool_latency_seconds_count"
    labels = {"gen_ai_tool_name": "search", "source": "a"}
    for query in (f"worker={os.getpid()}", "worker=each"):
        assert asked_text(exporter, query)[key(count, **labels, worker=str(os.getpid()))] == 1
    for route in (view._metrics, exporter._route):
        said = refusal(route({"QUERY_STRING": f"worker={OTHER}"}))
        assert said == f"nothing is known of a worker {OTHER}; there is {os.getpid()}"


def test_a_scrape_is_of_all_workers_together(exporter: PrometheusExporter) -> None:
    found = asked_text(exporter)
    labels = {"gen_ai_tool_name": "search", "source": "a"}
    assert found[key("metertap_tool_latency_seconds_count", **labels)] == 3
    assert found[key("metertap_tool_latency_max_seconds", **labels)] == 0.03
    assert found[key("sold_total", shop="a")] == 5


def test_a_scrape_of_workers_tells_them_apart(exporter: PrometheusExporter) -> None:
    labels = {"gen_ai_tool_name": "search", "source": "a"}
    count, sold = "metertap_tool_latency_seconds_count", "sold_total"
    each = asked_text(exporter, "worker=each")
    for pid, calls, number in ((os.getpid(), 1, 2), (OTHER, 2, 3)):
        one = asked_text(exporter, f"worker={pid}")
        for found in (one, each):
            assert found[key(count, **labels, worker=str(pid))] == calls
            assert found[key(sold, shop="a", worker=str(pid))] == number
        assert not any(("worker", str(os.getpid() + OTHER - pid)) in shown for _, shown in one)
    said = refusal(exporter._route({"QUERY_STRING": "worker=5"}))
    assert said == f"nothing is known of a worker 5; there is {os.getpid()}, {OTHER}, {LOST}"


def test_an_answer_for_one_worker_is_none_for_another(document: JsonSnapshot) -> None:
    for route in (document._metrics, PrometheusExporter()._route):
        all_of_them, one, other = (
            route._kind({"QUERY_STRING": query}) for query in ("", "worker=1", "worker=2")
        )
        assert len({all_of_them, one, other}) == 3


@pytest.mark.parametrize("view", [JsonSnapshot, PrometheusExporter])
def test_a_worker_that_has_left_does_not_show_its_own_figures_as_those_of_all(view: Any) -> None:
    made = view()
    made.endpoint.may_bind = lambda: False
    made.group = SimpleNamespace(gathered=lambda _names: None, has_left=True)
    route = made._metrics if view is JsonSnapshot else made._route
    for query in ("", f"worker={os.getpid()}"):
        assert route({"QUERY_STRING": query}).status == 503
    made.group.has_left = False  # it is alone
    assert route({"QUERY_STRING": ""}).status == 200


@pytest.mark.faults
@pytest.mark.parametrize("gathered", [lambda _names: None, lambda _names: 1 / 0])
def test_without_the_others_a_view_shows_its_own_process(gathered: Any) -> None:
    view, exporter = JsonSnapshot(), PrometheusExporter()
    recorder = state.recorder()
    recorder.record_tool(recorder.tool("search", "a"), outcomes.OK, None, 10.0)
    view.group = exporter.group = SimpleNamespace(gathered=gathered)  # type: ignore[assignment]
    assert asked_json(view)["tool_metrics"]["search"]["total_calls"] == 1
    labels = {"gen_ai_tool_name": "search", "source": "a"}
    assert asked_text(exporter)[key("metertap_tool_latency_seconds_count", **labels)] == 1
    assert set(faults.fault_counts()) <= {"document.workers", "prometheus.workers"}


def test_a_host_is_told_that_its_endpoint_listens(free_port: int) -> None:
    told = []

    class Host(NoHost):
        def settled(self, endpoint: Any) -> None:
            told.append(endpoint.url)

    view = JsonSnapshot(state.settings()._replace(json_port=free_port))
    view.show(Host())
    view.endpoint.start()
    assert view.endpoint.wait(60) == f"http://127.0.0.1:{free_port}"
    view.endpoint.stop()
    assert told == [f"http://127.0.0.1:{free_port}"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"HTTP_USER_AGENT": "curl/8 Prometheus/3"}, False),
        ({"HTTP_USER_AGENT": "Prometheus/3.1"}, True),
        ({"HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": "10"}, True),
    ],
)
def test_who_is_a_prometheus(environ: dict[str, str], expected: bool) -> None:
    assert is_prometheus(environ) is expected


def test_each_worker_is_a_target_of_its_own_and_a_process_alone_is_one() -> None:
    exporter: Any = PrometheusExporter()

    def targets() -> list[Any]:
        found: list[Any] = json.loads(exporter._serve_targets({"HTTP_HOST": "h:1"}).body)
        assert all(item["targets"] == ["h:1"] for item in found)
        return [item["labels"].get("instance") for item in found]

    assert targets() == [None]
    exporter.group = Workers()
    assert targets() == [f"h:1/{pid}" for pid in (os.getpid(), OTHER, LOST)]
