"""Faults of our own beside calls: costs, weights, mounted applications, and what commands ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import metertap
from metertap import faults
from metertap.cli.assistant import server as assistant
from metertap_exporters.json.reader import schema
from support import breaking
from support.waiting import wait_for

pytestmark = pytest.mark.programs
pytest_plugins = "pytester"

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
    meter.miss(key=text)
    for _ in range(2):
        metertap.record_usage(
            provider="openai", model="gpt-4o", input_tokens=900, output_tokens=10, cached_tokens=5
        )
        metertap.record_usage(provider="house", model="house-model", input_tokens=9, seconds=0.5)
    meter.hit(key=text)
    return {"found": [text] * 50}


def lost(document: Any, whole: Any, at: str = "") -> list[str]:
    """Name the parts of a document that have less in them than another one has."""
    if isinstance(whole, dict):
        missing = whole.keys() - document.keys() if isinstance(document, dict) else {"all"}
        found = [f"{at}.{name}" for name in missing]
        if not found:
            found = [part for name in whole for part in lost(document[name], whole[name], name)]
        return found
    if isinstance(whole, list):
        return [at] if not isinstance(document, list) or len(document) < len(whole) else []
    return [at] if document is None and whole is not None else []


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
    checks = jsonschema.Draft202012Validator(schema())
    names = set()
    for code in breaking.each_broken(use, once=True):
        name = breaking.name_of(code)
        names.add(Path(code.co_filename).name)
        try:
            document = use()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
            continue
        wrong += [f"{name}: {it.message}" for it in checks.iter_errors(document)]
        if breaking.reached and not faults.fault_counts():
            wrong.append(f"{name}: was told to nobody")
        before = use()
        after = use()
        calls = [it["tool_metrics"]["search"]["total_calls"] for it in (before, after)]
        if calls[1] - calls[0] != 2 or lost(after, whole):
            wrong.append(f"{name}: afterwards {calls}, without {lost(after, whole)}")
    print(len(names), sorted(names))
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
    for code in breaking.each_broken(use, once=True):
        name = breaking.name_of(code)
        try:
            found = use()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
            continue
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
            if type(error).__name__ == "ToolError":  # of which the SDK makes an answer
                return "failed"
            raise

    use()
    assert url in use()[0]
    for code in breaking.each_broken(use, once=True):
        name = breaking.name_of(code)
        try:
            found = use()
        except Exception as error:
            wrong.append(f"{name}: {error!r}")
            continue
        if found.count("failed") > 1:
            wrong.append(f"{name}: {found}")
        if "failed" in use():
            wrong.append(f"{name}: afterwards {use()}")
    assert not wrong, "\n".join(wrong)


TESTS = """
import metertap as package

@package.tool
def search():
    pass

def test_plain():
    search()

def test_measured(metertap):
    search()
    assert metertap.calls("search") == 1
    assert metertap.calls("search").p95 < 1000, metertap.table()

def test_that_fails(metertap):
    assert metertap.calls("search").failed == 1
"""


@pytest.mark.faults
def test_a_fault_anywhere_in_ours_costs_the_tests_of_a_program_one_that_asks_for_figures(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(TESTS)
    wrong: list[str] = []

    def use() -> tuple[int, dict[str, int], str]:
        done = pytester.inline_run("--metertap-report=report.json", "-p", "no:cacheprovider")
        passed, _, failed = done.listoutcomes()
        outcomes = {item.nodeid.rpartition("::")[2]: item.outcome for item in (*passed, *failed)}
        return int(done.ret), outcomes, (pytester.path / "report.json").read_text()

    status, usual, report = use()
    assert (status, usual["test_plain"], len(json.loads(report))) == (1, "passed", 2)
    for code in breaking.each_broken(use, once=True):
        name = breaking.name_of(code)
        try:
            status, outcomes, _ = use()
        except BaseException as error:
            wrong.append(f"{name}: {error!r}")
            continue
        if status != 1 or outcomes["test_plain"] != "passed" or len(outcomes) < 3:
            wrong.append(f"{name}: {status} {outcomes}")
    assert not wrong, "\n".join(wrong)
