"""The live page's files: how they are served, and that they ask nobody else for anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import Tap, state
from metertap.history.answers import Subject
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap.install_command import install_command
from metertap_exporters.json.document import outline, with_entries
from metertap_exporters.json.text import DocumentText
from metertap_exporters.page import page
from support.http import get
from support.waiting import wait_for

FOLDER = Path(str(resources.files("metertap_exporters.page")))
PATHS = ["/", *(f"/{name.removesuffix('.html')}" for name in page.FILES if name != "index.html")]


@pytest.fixture
def tap() -> Iterator[Tap]:
    with metertap.instrument() as tap:
        metertap.cache_meter("any").hit()
        wait_for(lambda: tap.json_url)
        yield tap


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package `plotly` with a bundle, found before any that is installed; its import fails."""
    bundle = tmp_path / "plotly" / "package_data" / "plotly.min.js"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("window.Plotly = {};")
    (tmp_path / "plotly" / "__init__.py").write_text("raise ImportError('was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plotly", raising=False)
    return bundle


@pytest.mark.parametrize("path", PATHS)
def test_every_file_comes_with_a_policy_that_forbids_all_but_this_origin(
    tap: Tap, path: str
) -> None:
    answer = get(f"{tap.json_url}{path}")
    assert answer.status == 200
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    kinds = {".js": "text/javascript", ".css": "text/css", "": "text/html"}
    assert answer.headers["Content-Type"] == f"{kinds[Path(path).suffix]}; charset=utf-8"


@pytest.mark.parametrize("path", [*PATHS, "/page.json"])
def test_head_is_get_without_its_body_and_post_is_refused(tap: Tap, path: str) -> None:
    asked, head = get(f"{tap.json_url}{path}"), get(f"{tap.json_url}{path}", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(asked.body))
    assert get(f"{tap.json_url}{path}", method="POST").status == 405


def test_what_a_browser_has_already_is_not_sent_again(tap: Tap) -> None:
    first = get(f"{tap.json_url}/page.js")
    assert first.headers["Cache-Control"] == "no-cache"  # it asks each time
    again = get(f"{tap.json_url}/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    other = get(f"{tap.json_url}/page.js", headers={"If-None-Match": '"of another version"'})
    assert other.status == 200


@pytest.mark.parametrize("path", [*PATHS, "/page.json", page.LIBRARY_PATH])
def test_a_foreign_host_gets_no_file(tap: Tap, path: str) -> None:
    answer = get(f"{tap.json_url}{path}", headers={"Host": "evil.example.org:9109"})
    assert answer.status == 403


@pytest.mark.parametrize("path", ["/index.html", "/page.py", "/../schema.json", "/page.js/"])
def test_nothing_but_the_page_is_served(tap: Tap, path: str) -> None:
    assert get(f"{tap.json_url}{path}").status == 404


def test_every_file_of_the_folder_is_served_and_the_other_way_round() -> None:
    there = {path.name for path in FOLDER.iterdir() if path.suffix in {".html", ".css", ".js"}}
    assert there == set(page.FILES)


@pytest.mark.parametrize("name", page.FILES)
def test_no_file_names_another_host_or_makes_markup_of_data(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text) == []
    makes_markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"
    assert re.findall(makes_markup, text) == []
    assert re.findall(r"\sstyle=|\son[a-z]+=|<script>|javascript:", text) == []


def test_the_page_loads_only_what_is_served(tap: Tap) -> None:
    text = (FOLDER / "index.html").read_text("utf-8")
    named = {name for name in re.findall(r'(?:src|href)="([^"]+)"', text) if name != "data:,"}
    assert "page.js" in named  # without a slash: the page may be mounted below any address
    assert {get(f"{tap.json_url}/{path}").status for path in named} == {200}


def test_the_charts_library_is_served_out_of_its_package_without_importing_it(
    tap: Tap, library: Path
) -> None:
    facts = get(f"{tap.json_url}/page.json").json()
    assert facts["chart_library"].startswith("charts-library.js?")
    answer = get(f"{tap.json_url}/{facts['chart_library']}")
    assert answer.body == library.read_bytes()
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert "plotly" not in sys.modules


def test_another_version_of_the_library_has_another_address(tap: Tap, library: Path) -> None:
    first = get(f"{tap.json_url}/page.json").json()["chart_library"]
    library.write_text("window.Plotly = { version: 2 };")
    second = get(f"{tap.json_url}/page.json").json()["chart_library"]
    assert first != second
    # What is there now is not to be kept under the old address.
    assert get(f"{tap.json_url}/{first}").headers["Cache-Control"] == "no-store"


def test_without_the_library_the_page_says_what_to_install(
    tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "chart_library", lambda: None)
    facts = get(f"{tap.json_url}/page.json").json()
    assert facts["chart_library"] is None
    assert facts["install"] == install_command("dashboard")
    assert get(f"{tap.json_url}{page.LIBRARY_PATH}").status == 404


@pytest.mark.parametrize("package", ["nothing", "a module", "no bundle"])
def test_a_package_that_is_not_what_it_seems_is_no_library(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "plotly", raising=False)
    if package == "nothing":
        monkeypatch.setitem(sys.modules, "plotly", None)
    elif package == "a module":
        (tmp_path / "plotly.py").write_text("")
    else:
        (tmp_path / "plotly").mkdir()
        (tmp_path / "plotly" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert page.chart_library() is None


def test_a_process_nobody_looks_at_reads_no_file_of_the_page() -> None:
    code = (
        "import sys, metertap\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0]))"
        " if event == 'open' else None)\n"
        "with metertap.instrument(json_port=0) as tap:\n"
        "    metertap.record_tool_call('search', True, 1.0)\n"
        "    while tap.json_url is None: pass\n"
        "    tap.snapshot()\n"
        "print([name for name in opened if name.endswith(('.html', '.css', '.js'))])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout == "[]\n", found.stderr


# The text of documents


def told(kept: DocumentText) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document by either way, from the same figures."""
    figures = state.recorder().figures()
    given: dict[str, Any] = {"enabled": True, "service": {"name": '"tool_metrics":{}'}}
    found = outline(figures, **given, alerts=None)
    text = json.loads(kept.of(found))
    whole = json.loads(json.dumps(with_entries(found)))
    for either in (text, whole):
        del either["timestamp"], either["system_metrics"]["process"]
    return text, whole


def test_the_text_is_the_document_whatever_happens_between_two() -> None:
    kept = DocumentText()
    cache = metertap.cache_meter("prompts")

    def with_a_lookup() -> None:
        with metertap.measure_tool("search"):
            cache.hit()

    def items() -> None:
        @metertap.tool(name="items")
        def items() -> Iterator[int]:
            yield 1

        list(items())

    running = metertap.measure_tool("search")
    steps = [
        lambda: None,
        lambda: metertap.record_tool_call("search", True, 1.0),
        lambda: metertap.record_tool_call("price", False, 2.0, "ValueError"),
        lambda: metertap.record_tool_call("price", False),
        lambda: running.__enter__(),
        lambda: metertap.record_tool_call("price", True, 3.0),
        lambda: running.__exit__(None, None, None),
        with_a_lookup,
        with_a_lookup,
        items,
        lambda: metertap.record_tool_call('"<\n', True, 1.0),
        lambda: state.recorder().configure(5, 2000),
        metertap.reset_metrics,
        lambda: metertap.record_tool_call("search", True, 9.0),
    ]
    with metertap.instrument(json_endpoint=False):
        for number, step in enumerate(steps):
            step()
            for _ in range(2):
                text, whole = told(kept)
                assert text == whole, number


def test_figures_are_the_same_object_until_something_happens() -> None:
    with metertap.instrument(json_endpoint=False):
        recorder = state.recorder()
        metertap.record_tool_call("search", True, 1.0)
        metertap.record_tool_call("price", True, 1.0)
        before = {tool.name: tool for tool in recorder.figures().tools}
        metertap.record_tool_call("price", True, 1.0)
        after = {tool.name: tool for tool in recorder.figures().tools}
    assert after["search"] is before["search"]
    assert after["price"] is not before["price"]


def test_a_document_is_the_callers_own() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_tool_call("search", False, 1.0, "ValueError")
        mine = tap.snapshot()["tool_metrics"]["search"]
        mine["outcomes"].clear()
        mine["error_types"]["mine"] = 1
        assert tap.snapshot()["tool_metrics"]["search"]["error_types"] == {"ValueError": 1}
        assert tap.snapshot()["tool_metrics"]["search"]["outcomes"]["exception"] == 1


def test_the_history_says_how_it_is_switched_on(tap: Tap) -> None:
    answer = get(f"{tap.json_url}/history.json")
    assert answer.status == 404
    assert "METERTAP_HISTORY=FILE" in json.loads(answer.body)["error"]["message"]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Tap]:
    """A process with a history of a call a day: of ten days, the last five of version 2."""
    path = tmp_path / "history.db"
    # Half a day ago: neither now nor a week ago is near one of them, whatever the time of day is.
    last = int(time.time() // 3600 - 12) * 3600
    with closing(Store(path, 10_000_000)) as store:
        for day in range(10):
            tool = Tally({"ok": 1})
            tool.sketch().add([0.1 * (day + 1)])
            tallies = {Subject("tool", "search", "mcp"): tool}
            start = last - (9 - day) * 86_400
            store.write(Run("shop", str(1 + day // 5), "one"), [(start, tallies)])
    with metertap.instrument(history=path) as tap:
        metertap.cache_meter("any").hit()
        wait_for(lambda: tap.json_url)
        yield tap


def test_the_history_is_served(kept: Tap) -> None:
    found = json.loads(get(f"{kept.json_url}/history.json").body)
    (tool,) = found["tools"]
    assert (tool["name"], tool["version"], tool["calls"]) == ("search", None, 7)
    assert [version["version"] for version in found["versions"]] == ["1", "2"]
    by_version = get(f"{kept.json_url}/history.json?since=0&until={time.time()}&by=version")
    assert by_version.status == 400  # not so far
    long_ago = time.time() - 100 * 86_400
    by_version = get(f"{kept.json_url}/history.json?since={long_ago}&by=version")
    tools = json.loads(by_version.body)["tools"]
    assert [(tool["version"], tool["calls"]) for tool in tools] == [("1", 5), ("2", 5)]


@pytest.mark.parametrize("query", ["since=x", "since=nan", "since=2e9&until=1e9", "until=inf"])
def test_a_range_that_is_none_is_refused(kept: Tap, query: str) -> None:
    assert get(f"{kept.json_url}/history.json?{query}").status == 400


def test_a_history_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"no database " * 100)
    with metertap.instrument(history=path) as tap:
        metertap.cache_meter("any").hit()
        wait_for(lambda: tap.json_url)
        answer = get(f"{tap.json_url}/history.json")
    assert answer.status == 503
    assert "history.db" in json.loads(answer.body)["error"]["message"]
