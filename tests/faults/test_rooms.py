"""Faults of our own beside calls: costs, weights, mounted applications, and what commands ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import metertap
from metertap import faults
from metertap.cli.assistant import server as assistant
from metertap.testing import figures, meter, plugin, report
from support import breaking
from support.checked import differences
from support.waiting import wait_for

pytestmark = pytest.mark.programs
pytest_plugins = "pytester"

SOMETIMES = {"extrapolated", "last_call_timestamp"}
"""Parts of a document that come and go with the time."""
CONFIGURED = """
[alerts]
tokens_per_result = 10
[prices."house-model"]
input = 1.0
output = 2.0
[fees]
search = 0.01
"""


@pytest.fixture
def tap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[metertap.Tap]:
    """A process in which tools ask models, through caches."""
    (tmp_path / "metertap.toml").write_text(CONFIGURED)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "*")
    with metertap.instrument(service_name="shop", cost_repeats=True, context_window=1000) as tap:
        yield tap


@metertap.tool
def search(text: str) -> dict[str, Any]:
    """Ask a model twice the same, after a cache had no answer; return what has a weight."""
    meter = metertap.cache_meter("answers")
    meter.miss()
    for _ in range(2):
        metertap.record_usage(
            provider="openai", model="gpt-4o", input_tokens=900, output_tokens=10, cached_tokens=5
        )
        metertap.record_usage(provider="house", model="house-model", input_tokens=9, seconds=0.5)
    meter.hit()
    return {"found": [text] * 50}


def lost(document: Any, whole: Any, at: str = "") -> list[str]:
    """Name the parts of a document that have less in them than another one has."""
    if isinstance(whole, dict):
        names = whole.keys() - SOMETIMES
        missing = names - document.keys() if isinstance(document, dict) else {"all"}
        if missing:
            return [f"{at}.{name}" for name in missing]
        return [part for name in names for part in lost(document[name], whole[name], name)]
    if isinstance(whole, list):
        return [at] if not isinstance(document, list) or len(document) < len(whole) else []
    return [at] if document is None and whole is not None else []


def with_each_fault(use: Callable[[], Any], wrong: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield each function of ours that is broken with what `use` gives; note in `wrong` if none."""
    for code in breaking.each_broken(use, once=True):
        name = breaking.name_of(code)
        try:
            given = use()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
        else:
            yield name, given


@pytest.mark.faults
def test_a_fault_anywhere_in_ours_while_costs_and_weights_are_counted_reaches_no_call(
    tap: metertap.Tap,
) -> None:
    wrong: list[str] = []

    def use() -> Any:
        answers = [search("a"), search("b")]
        assert answers == [{"found": [text] * 50} for text in "ab"]
        return tap.snapshot()

    use()
    whole = use()
    for name, document in with_each_fault(use, wrong):
        wrong += [f"{name}: {said}" for said in differences(document)]
        if breaking.reached and not faults.fault_counts():
            wrong.append(f"{name}: was told to nobody")
        before = use()
        after = use()
        calls = [it["tool_metrics"]["search"]["total_calls"] for it in (before, after)]
        if calls[1] - calls[0] != 2 or lost(after, whole):
            wrong.append(f"{name}: afterwards {calls}, without {lost(after, whole)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
def test_a_fault_anywhere_in_ours_costs_a_mounted_application_one_answer(
    tap: metertap.Tap,
) -> None:
    wrong: list[str] = []
    paths = ("/search", "/meter", "/meter/", "/meter/metrics", "/meter/prometheus", "/meter/none")

    def use() -> list[int]:
        inside = Mount("/meter", metertap.asgi_app())
        route = Route("/search", lambda _request: PlainTextResponse(str(search("a"))))
        with TestClient(Starlette(routes=[route, inside])) as client:
            return [client.get(path, follow_redirects=False).status_code for path in paths]

    usual = use()
    assert usual == [200, 307, 200, 200, 200, 404]
    for name, found in with_each_fault(use, wrong):
        changed = [got for got, was in zip(found, usual, strict=True) if got != was]
        if found[0] != 200 or len(changed) > 1 or not {500, 503}.issuperset(changed):
            wrong.append(f"{name}: {found}")
        if breaking.reached and not faults.fault_counts():
            wrong.append(f"{name}: was told to nobody")
        if (found := use()) != usual:
            wrong.append(f"{name}: afterwards {found}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
@pytest.mark.mcp
def test_a_fault_anywhere_in_ours_costs_an_assistant_one_answer(tap: metertap.Tap) -> None:
    wrong: list[str] = []
    search("a")
    url = wait_for(lambda: tap.json_url)
    asked = ("list_processes", "slowest_tools", "failing_tools", "cache_hit_rates", "what_changed")

    def use() -> list[str]:
        server = assistant._new_server()
        assistant._add_tools(server)
        return [ask(server, name) for name in asked]

    def ask(server: Any, tool: str) -> str:
        try:
            return str(asyncio.run(server.call_tool(tool, {})))
        except Exception as error:
            kinds = {kind.__name__ for kind in type(error).__mro__}
            if "ToolError" in kinds:  # of which the SDK makes an answer
                return "failed"
            raise

    use()
    assert url in use()[0]
    for name, found in with_each_fault(use, wrong):
        if found.count("failed") > 1:
            wrong.append(f"{name}: {found}")
        if "failed" in use():
            wrong.append(f"{name}: afterwards {use()}")
    assert not wrong, "\n".join(wrong)


OF_THE_PLUGIN = (figures, meter, plugin, report)
"""Imported here, or each run would have others of its own."""
TESTS = """
import metertap as package

@package.tool
def search():
    pass

def test_plain():
    search()

def test_measured(metertap):
    for _ in range(3):
        search()
    assert metertap.calls("search").count == 3
    assert metertap.calls("search").p95 < 1000, metertap.table()

def test_that_fails(metertap):
    assert metertap.calls("search").failed == 1
"""


@pytest.mark.faults
def test_a_fault_anywhere_in_ours_costs_the_tests_of_a_program_one_that_asks_for_figures(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(TESTS)
    # Each run would import the other plugins that are installed, and pytest forgets them after it.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    options = ("-p", "metertap.testing.plugin", "--metertap-report=report.txt")
    wrong: list[str] = []

    def use() -> tuple[int, dict[str, int], str]:
        done = pytester.inline_run(*options, "-p", "no:cacheprovider")
        passed, _, failed = done.listoutcomes()
        outcomes = {item.nodeid.rpartition("::")[2]: item.outcome for item in (*passed, *failed)}
        return int(done.ret), outcomes, (pytester.path / "report.txt").read_text()

    with metertap.instrument(json_endpoint=False) as tap:
        tap.pipeline.deliver_nothing()  # which imports what each run would import anew
    use()
    status, usual, written = use()
    assert (status, written.count("::test_")) == (1, 2)
    assert usual == {"test_plain": "passed", "test_measured": "passed", "test_that_fails": "failed"}
    room = tuple(str(module.__file__) for module in OF_THE_PLUGIN)
    for code in breaking.each_broken(use, once=True, callers=room):
        name = breaking.name_of(code)
        try:
            status, outcomes, _ = use()
        except BaseException as error:
            wrong.append(f"{name}: {error!r}")
            continue
        if not breaking.reached:
            wrong.append(f"{name}: was not called")
        if status not in {1, 3} or outcomes["test_plain"] != "passed" or len(outcomes) < 3:
            wrong.append(f"{name}: {status} {outcomes}")
    assert not wrong, "\n".join(wrong)
