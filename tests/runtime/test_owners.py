"""Who has the process measured: the application, and libraries that instrument too."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import metertap
from metertap.runtime.tap import active_tap
from servers.otlp_receiver import receiver
from support.metric_data import points
from support.programs import run
from support.waiting import wait_for
from support.warned import warnings_of

LIBRARY = """
import metertap

def start(**options):
    return metertap.instrument(**options)

def end():
    metertap.uninstrument()
"""


@pytest.fixture
def library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], ModuleType]]:
    """Makes installed libraries that instrument."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = set()

    def make(name: str) -> ModuleType:
        (folder / f"{name}.py").write_text(LIBRARY)
        made.add(name)
        return importlib.import_module(name)

    yield make
    for name in made:
        del sys.modules[name]


def calls() -> int:
    metertap.record_tool_call("search", True, 1.0)
    found = metertap.get_all_metrics()["tool_metrics"].get("search")
    return 0 if found is None else int(found["total_calls"])


def test_the_last_owner_ends_it(library: Callable[[str], ModuleType]) -> None:
    theirs = library("shoplib").start()
    others = library("otherlib").start()
    with metertap.instrument() as ours:
        theirs.shutdown()
        theirs.shutdown()  # a second time it holds nothing
        assert (ours.is_active, calls()) == (True, 1)
    assert others.is_active
    assert calls() == 2
    others.shutdown()
    assert (others.is_active, active_tap()) == (False, None)
    assert calls() == 2


def test_an_application_that_ends_leaves_a_library_measured(
    library: Callable[[str], ModuleType],
) -> None:
    ours = metertap.instrument()
    theirs = library("shoplib").start()
    ours.shutdown()
    assert theirs.is_active
    theirs.shutdown()
    assert not theirs.is_active


def test_all_modules_of_an_application_are_one_owner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = metertap.instrument(json_endpoint=False)
    metertap.instrument()
    helper: dict[str, Any] = {"__name__": "helper", "__file__": str(tmp_path / "helper.py")}
    code = LIBRARY + "tap = start(json_endpoint=False)\n"
    exec(compile(code, helper["__file__"], "exec"), helper)
    assert helper["tap"] is here
    here.shutdown()
    assert (here.is_active, active_tap(), warnings_of(caplog)) == (False, None, [])
    assert "shut down; metertap.instrument() begins again" in repr(here)


def test_a_call_that_asks_for_other_settings_needs_its_own_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = metertap.instrument(json_endpoint=False)
    second = metertap.instrument(json_endpoint=True)
    first.shutdown()
    assert second.is_active
    asked, told = warnings_of(caplog)
    assert "ignored: json_endpoint" in asked
    assert f"measuring goes on for {__file__}:" in told
    second.shutdown()
    assert (second.is_active, len(warnings_of(caplog))) == (False, 2)


def test_modules_of_a_library_are_one_owner(
    library: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    folder = tmp_path / "site-packages"
    for package in ("shoplib", "wide/one", "wide/two"):  # `wide` is a namespace
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    names = ("shoplib.start", "shoplib.end", "wide.one.start", "wide.two.start")
    for name in names:
        (folder / f"{name.replace('.', '/')}.py").write_text(LIBRARY)
    importlib.invalidate_caches()
    start, end, one, two = map(importlib.import_module, names)
    try:
        taps = [module.start(json_endpoint=False) for module in (start, end, one, two)]
        assert taps[0] is taps[1]
        assert len(set(taps)) == 3
        end.end()
        taps[2].shutdown()
        assert active_tap() is taps[3]
        taps[3].shutdown()
        assert active_tap() is None
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in {"shoplib", "wide"}]:
            del sys.modules[name]


def test_whoever_still_has_it_measured_is_named_once(
    library: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    library("shoplib").start()
    for _ in range(2):
        ours = metertap.instrument()
        ours.shutdown()
    (told,) = warnings_of(caplog)
    held = (
        "measuring goes on for shoplib, which asked for it too; "
        "metertap.uninstrument() ends it for all"
    )
    assert told.endswith(held)
    assert f"shut down; {held}>" in repr(ours)
    assert held in ours._repr_html_()
    metertap.uninstrument()
    assert "begins again" in repr(ours)


def test_an_application_that_begins_again_decides_again(
    library: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    theirs = library("shoplib").start(json_endpoint=False)
    for window_size in (20, 30):
        with metertap.instrument(json_endpoint=False, window_size=window_size):
            assert theirs.settings.window_size == window_size
    assert not any("ignored" in told for told in warnings_of(caplog))


def test_an_application_that_ends_under_metertap_run_says_nothing(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(
        "import metertap\ntap = metertap.instrument()\ntap.shutdown()\n"
        "print(tap, metertap.get_all_metrics()['enabled'])\n"
    )
    done = run(sys.executable, "-m", "metertap", "run", "--", sys.executable, str(script))
    assert b"shut down; measuring goes on for metertap run, which asked" in done.stdout
    assert (done.status, done.told) == (0, "")


def test_one_place_that_calls_again_is_one_owner() -> None:
    taps = [metertap.instrument() for _ in range(3)]
    taps[0].shutdown()
    assert not taps[0].is_active


def test_blocks_within_blocks_end_with_the_outermost() -> None:
    def block(depth: int) -> bool:
        with metertap.instrument() as tap:
            return block(depth - 1) and tap.is_active if depth else tap.is_active

    assert block(3)
    assert active_tap() is None


def test_a_shutdown_within_its_block_ends_it() -> None:
    with metertap.instrument() as tap:
        tap.shutdown()
        assert not tap.is_active


def test_uninstrument_of_a_library_ends_its_own_share_alone(
    library: Callable[[str], ModuleType],
) -> None:
    theirs = library("shoplib")
    theirs.start()
    ours = metertap.instrument()
    theirs.end()
    assert ours.is_active
    theirs.end()  # there is nothing left of it to end
    library("otherlib").end()
    assert ours.is_active
    theirs.start()
    metertap.uninstrument()  # the application means everything
    assert not ours.is_active


def test_the_applications_keywords_win_over_those_of_a_library_before_it(
    library: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    theirs = library("shoplib").start(json_endpoint=False, window_size=20)
    with metertap.instrument(window_size=50) as ours:
        assert (ours.settings.window_size, theirs.settings.window_size) == (50, 50)
        assert wait_for(lambda: calls() and ours.json_url)
        (told,) = warnings_of(caplog)
        assert "shoplib" in told
        assert told.endswith("window_size, json_endpoint")


def test_a_library_after_the_application_changes_nothing(
    library: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    with metertap.instrument(window_size=50) as ours:
        library("shoplib").start(window_size=50)
        assert warnings_of(caplog) == []
        library("otherlib").start(window_size=20, alert_webhook_url="http://user:secret@host/")
        library("otherlib").start(window_size=20)
        assert ours.settings.window_size == 50
        (told,) = warnings_of(caplog)
        assert told.endswith("window_size, alert_webhook_url")


def test_nothing_is_lost_when_the_application_takes_over(
    library: Callable[[str], ModuleType],
) -> None:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    library("shoplib").start(json_endpoint=False)
    calls()
    with metertap.instrument(json_endpoint=True) as ours:
        calls()
        assert ours.snapshot()["tool_metrics"]["search"]["total_calls"] == 2
        reader = InMemoryMetricReader()
        assert ours.pipeline.owned is not None
        ours.pipeline.owned.add_metric_reader(reader)
        assert calls() == 3
        assert sum(p.count for p in points(reader, "gen_ai.execute_tool.duration")) == 1
        with metertap.instrument():
            url = wait_for(lambda: ours.json_url)
            assert url


def test_what_a_library_delivered_is_not_delivered_again(
    library: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        theirs = library("shoplib").start(window_size=20)
        calls()
        theirs.flush(60_000)
        delivered = len(collector.requests)
        with metertap.instrument(window_size=50) as ours:
            calls()
            ours.flush(60_000)
            counts = [
                point.count
                for request in collector.requests[delivered + 1 :]
                for resource in request.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == "gen_ai.execute_tool.duration"
                for point in metric.histogram.data_points
            ]
            assert counts[-1] == 1


def test_after_the_end_nothing_is_recorded_until_it_begins_again() -> None:
    @metertap.tool
    def search() -> None:
        """A tool."""

    prompts = metertap.cache_meter("prompts")

    def use() -> None:
        search()
        with metertap.measure_tool("block"):
            prompts.hit()
        metertap.record_cache_miss("prompts")
        metertap.record_tool_call("by_hand", True, 1.0)

    def counts() -> list[int]:
        document = metertap.get_all_metrics()
        prompted = document["cache_metrics"]["prompts"]
        tools = (document["tool_metrics"][name] for name in ("search", "block", "by_hand"))
        return [*(tool["total_calls"] for tool in tools), prompted["hits"], prompted["misses"]]

    use()  # before the first, records by hand count
    assert counts() == [1] * 5
    for _ in range(2):
        with metertap.instrument():
            use()
        use()
    assert counts() == [3] * 5


def test_what_cannot_be_imported_leaves_the_program_as_it_is() -> None:
    program = """
import sys
sys.modules[MISSING] = None
import metertap
from metertap import *

@metertap.tool
def search(): return "found"

@metertap.tool(name="other")
def other(): return "found"

with metertap.instrument() as tap:
    with metertap.measure_tool("block"):
        print(search(), other())
    metertap.cache_meter("prompts").hit()
    metertap.record_tool_call("by hand", True, 1.0)
    metertap.get_collector().record_cache_hit("prompts")
    print(tap.is_active, tap.snapshot()["enabled"], tap.snapshot()["tool_metrics"])
metertap.uninstrument()
"""
    for missing in ("wrapt", "opentelemetry.sdk.metrics", "opentelemetry"):
        done = run(sys.executable, "-c", program.replace("MISSING", repr(missing)))
        assert (done.status, done.stdout) == (0, b"found found\nFalse False {}\n"), done.told
        assert len(done.told.splitlines()) == 1, done.told


@pytest.mark.faults
@pytest.mark.parametrize("broken", ["settings.settings.read", "runtime.owners.Installation"])
def test_a_fault_of_its_own_in_instrument_is_one_warning(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(f"metertap.{broken}", fail)
    with metertap.instrument() as tap:
        assert not tap.is_active
        assert tap.snapshot()["enabled"] is False
    (told,) = warnings_of(caplog)
    assert "a fault" in told


def test_cells_of_a_notebook_are_one_place(caplog: pytest.LogCaptureFixture) -> None:
    notebook = {"__name__": "__main__", "metertap": metertap}  # no file, as in a kernel

    def cell(text: str, number: int) -> None:
        exec(compile(text, f"/tmp/ipykernel_1/{number}.py", "exec"), notebook)

    cell("tap = metertap.instrument(json_endpoint=False)", 1)
    cell("\ntap = metertap.instrument(service_name='late')", 2)
    (said,) = [found for found in warnings_of(caplog) if "ignored: service_name" in found]
    assert "call tap.shutdown() first" in said
    cell("tap.shutdown()", 3)
    cell("tap = metertap.instrument(json_endpoint=False, service_name='mine')", 4)
    assert metertap.get_all_metrics()["service"]["name"] == "mine"
    cell("metertap.instrument(series_limit=7)", 5)
    assert any("ignored: series_limit" in found for found in warnings_of(caplog))
