"""Faults of our own while something is shown: each costs one figure, and is shown itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cachetools import LRUCache
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

import metertap
from metertap import catalogue, faults, state
from metertap.recording.percentiles import Percentiles
from metertap.recording.recorder import Recorder
from metertap.recording.tool_series import ToolSeries
from metertap_exporters.http.app import WsgiApp
from support import breaking
from support.checked import check, differences

SECTIONS = ("tool_metrics", "cache_metrics", "operations", "sessions", "alerts", "service")
OPENMETRICS = {"HTTP_ACCEPT": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def tap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[metertap.Tap]:
    """A process in which there is something of everything that is shown."""
    (tmp_path / "metertap.toml").write_text("[alerts]\nerror_rate = 0.1\n")
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    provider = MeterProvider()
    set_meter_provider(provider)
    with metertap.instrument(json_port=0, prometheus=True) as tap:
        metric = catalogue.TOOL_DURATION
        theirs = provider.get_meter("theirs").create_histogram(
            metric.name, unit=metric.unit, description=metric.description
        )
        theirs.record(0.1, {catalogue.TOOL_NAME: "theirs"})
        cache: LRUCache[str, int] = LRUCache(1)
        metertap.name_cache(cache, "prices")

        @metertap.tool
        def search(text: str) -> Iterator[str]:
            cache.get(text)
            yield text

        for text in "abcd":
            list(search(text))
        metertap.record_tool_call("fetch", False, 2.0, "ValueError")
        metertap.cache_meter("prompts").hit()
        recorder = state.recorder()
        for metric in (catalogue.SERVER_DURATION, catalogue.SERVER_SESSION):
            recorder.record_operation(metric.name, metric, {catalogue.MCP_METHOD: "ping"}, 1.0)
        yield tap


def asked(app: WsgiApp, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    started: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "/inside", **headers}
    body = b"".join(app(environ, lambda status, _headers: started.append(status)))
    return int(started[0][:3]), body


def lost(document: Any, whole: Any) -> list[str]:
    """Sections of a document that have less in them than there is."""
    return [name for name in SECTIONS if len(document[name] or ()) < len(whole[name] or ())]


class Shown:
    """Everything that is shown of a process, at one moment."""

    def __init__(
        self, tap: metertap.Tap, mounted: WsgiApp, recorder: Recorder, scrapes: bool = True
    ) -> None:
        for series in (*recorder._tools.values(), *recorder._operations.values()):
            series._shown = series._bare = (), None  # figures are made anew
        self.document: Any = metertap.get_all_metrics()
        self.html, self.alerts = tap._repr_html_(), tap.alerts()
        self.answers = {"json": asked(mounted, "/metrics")}
        if scrapes:
            self.answers |= {
                "plain": asked(mounted, "/prometheus"),
                "openmetrics": asked(mounted, "/prometheus", **OPENMETRICS),
                "doctor": asked(mounted, "/doctor"),  # last: it shows the faults of the others
            }

    def answered(self) -> dict[str, bytes]:
        """Texts of the answers that are no errors."""
        return {name: text for name, (status, text) in self.answers.items() if status == 200}

    def documents(self) -> list[Any]:
        """The document, as everybody gets it."""
        text = self.answered().get("json")
        return [self.document] if text is None else [self.document, json.loads(text)]

    def families(self) -> list[int]:
        """How many metrics a scrape has, in each format."""
        texts = [self.answered().get(name) for name in ("plain", "openmetrics")]
        return [text.count(b"# TYPE ") for text in texts if text is not None]


@pytest.mark.faults
@pytest.mark.parametrize("once", [True, False], ids=["once", "always"])
def test_a_fault_anywhere_in_ours_while_a_view_is_built_costs_one_figure(
    once: bool, tap: metertap.Tap
) -> None:
    mounted, recorder = metertap.wsgi_app(), state.recorder()
    wrong: list[str] = []
    whole = [Shown(tap, mounted, recorder) for _ in range(2)][1]  # the first makes a reader
    assert len(whole.answered()) == len(whole.answers)
    for code in breaking.each_broken(lambda: Shown(tap, mounted, recorder), once=once):
        name = breaking.name_of(code)
        try:
            shown = Shown(tap, mounted, recorder, scrapes=once)
            documents = shown.documents()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
            continue
        # What is raised for good may be in the function that answers: then there is an error.
        if once and len(shown.answered()) < len(whole.answers) - 1:
            wrong.append(f"{name}: answered are {list(shown.answered())}")
        if code.co_name == "dumped":  # writes each value: one that it cannot write is null
            continue
        wrong += [f"{name}: {said}" for item in documents for said in differences(item)]
        missing = [section for item in documents for section in lost(item, whole.document)]
        is_poor = sum(shown.families()) < whole.families()[0]  # one of the two scrapes may be
        if once and (is_poor or len(missing) > 1):
            wrong.append(f"{name}: {missing} missing, {shown.families()} families")
        told = faults.fault_counts()
        report = shown.answered().get("doctor")
        if breaking.reached and not told:
            wrong.append(f"{name}: was told to nobody")
        elif told and once and report and not json.loads(report)["faults"]:
            wrong.append(f"{name}: is not in the diagnosis")
    assert not wrong, "\n".join(wrong)
    after = Shown(tap, mounted, recorder)
    assert len(after.answered()) == len(whole.answers)
    assert after.families() >= whole.families()
    assert [lost(item, whole.document) for item in after.documents()] == [[], []]
    for name, read in (("plain", plain), ("openmetrics", openmetrics)):
        assert list(read(after.answered()[name].decode()))  # type: ignore[no-untyped-call]


@pytest.mark.faults
def test_a_tool_that_cannot_be_shown_keeps_no_other_from_it(
    tap: metertap.Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ToolSeries._figures_now

    def figures(self: ToolSeries, percentiles: Percentiles) -> Any:
        if self.name == "fetch":
            raise ValueError("a fault of the test's")
        return usual(self, percentiles)

    monkeypatch.setattr(ToolSeries, "_figures_now", figures)
    metertap.record_tool_call("fetch", True, 1.0)
    assert metertap.get_all_metrics()["tool_metrics"].keys() == {"search", "theirs"}
    assert tap.diagnosis()["faults"]["figures.tool"] > 0
    monkeypatch.undo()
    assert metertap.get_all_metrics()["tool_metrics"]["fetch"]["total_calls"] == 2


@pytest.mark.faults
def test_where_nothing_can_be_shown_a_document_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_keywords: object) -> None:
        raise ValueError("a fault of the test's")

    monkeypatch.setattr(Recorder, "_figures", fail)
    for document in (metertap.get_all_metrics(), metertap.get_collector().get_all_metrics()):
        check(document)
