"""Tables of a document's figures: titles, legends, and HTML for notebooks."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

import metertap
from metertap import catalogue, state
from metertap.tables.document import Document
from metertap.tables.figures import tables
from metertap.tables.table import Table, plain, shortened
from support.waiting import wait_for


def document(**changes: Any) -> Document:
    found: Any = json.loads(json.dumps(metertap.get_all_metrics()))
    return {**found, **changes}


def cells(markup: str) -> list[list[str]]:
    """The rows of every table; parsing it is the proof that every text was escaped."""
    root = ElementTree.fromstring(markup)
    return [[cell.text or "" for cell in row] for row in root.iter("tr")]


def paragraphs(markup: str) -> list[str]:
    return ["".join(found.itertext()) for found in ElementTree.fromstring(markup).iter("p")]


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 open session"), (2, "2 open sessions"), (0, "")]
)
def test_the_title_counts_open_sessions(count: int, text: str) -> None:
    found = document()
    found["system_metrics"]["active_sessions"] = count
    title = tables(found)[0].title
    assert title.partition(" s ")[2] == text


def test_what_tools_and_operations_count_is_said_where_both_are_shown() -> None:
    metertap.record_tool_call("search", True, 5.0)
    attributes = {catalogue.MCP_METHOD: "tools/call"}
    state.recorder().operation("key", catalogue.SERVER_DURATION, attributes).record(0.1)
    both = tables(document())
    assert ["Tools count calls of handlers" in plain(table) for table in both] == [False, True]
    # Both have one call, and it is said once, below the last.
    assert ["– a percentile needs two calls" in plain(table) for table in both] == [False, True]
    assert all("Tools count" not in plain(table) for table in tables(document(operations=[])))


def test_errors_of_callers_and_cancelled_calls_are_told_from_failures() -> None:
    for kind, number in (("ValueError", 6), ("CancelledError", 2)):
        for _ in range(number):
            metertap.record_tool_call("search", False, 5.0, kind)
    recorder = state.recorder()
    recorder.record_tool(recorder.tool("search", "manual"), "caller_error", "TypeError", 5.0)
    (table,) = tables(document())
    row = dict(zip(table.headers, table.rows[0], strict=True))
    assert row["failed"] == "6"
    assert row["errors"] == "ValueError 6, CancelledError 2 (cancelled), TypeError 1 (caller)"
    assert "neither ok nor failed" in table.legend


def test_an_error_type_that_ended_calls_in_several_ways_tells_how_many_did_not_fail() -> None:
    metertap.record_tool_call("search", False, 5.0, "KeyError")
    figures = document()
    tool = figures["tool_metrics"]["search"]
    tool["error_types"] = {"KeyError": 5}
    tool["error_outcomes"] = {"KeyError": {"exception": 2, "caller_error": 3}}
    assert tables(figures)[0].rows[0][-1] == "KeyError 5 (3 caller)"
    del tool["error_outcomes"]  # an older version
    assert tables(figures)[0].rows[0][-1] == "KeyError 5"


def test_a_decorated_tool_that_was_never_called_is_told_where_another_was() -> None:
    recorder = state.recorder()
    for name in ("prices", "search"):
        recorder.tool(name, catalogue.MANUAL)
    recorder.tool("found", "mcp:shop")  # one that a server lists
    assert "has to stand above" not in plain(tables(document())[0])
    metertap.record_tool_call("search", True, 5.0)
    assert "prices: never called. If" in tables(document())[0].legend
    assert tables(document(), is_order_told=True)[0].legend.startswith("prices: never called.\n")
    metertap.record_tool_call("prices", True, 5.0)
    assert "has to stand above" not in plain(tables(document())[0])


@pytest.mark.parametrize(
    ("ended", "reason"), [(0, ""), (2, " of running workers: those of ended ones are only counted")]
)
def test_why_there_is_no_percentile_is_said(ended: int, reason: str) -> None:
    metertap.record_tool_call("search", True, 5.0)
    (table,) = tables(document(ended_workers=ended))
    assert table.legend.splitlines()[-1] == f"– a percentile needs two calls{reason}"


def test_where_only_caches_are_measured_it_is_said_what_becomes_a_tool() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_cache_hit("prices")
        assert "@metertap.tool" in plain(tables(tap.snapshot())[0])
        assert any("@metertap.tool" in note for note in tap.diagnosis()["notes"])
        metertap.record_tool_call("search", True, 5.0)
        assert "@metertap.tool" not in plain(tables(tap.snapshot())[0])
        assert not any("@metertap.tool" in note for note in tap.diagnosis()["notes"])


def test_a_notebook_shows_tools_and_caches_with_their_names_escaped() -> None:
    name = "<script>alert('&')</script>"
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_tool_call(name, True, 5.0)
        metertap.record_cache_hit("<prices>")
        header, tool, cache_header, cache = cells(tap._repr_html_())
    assert (header[0], tool[0]) == ("tool", name)
    assert (cache_header[0], cache[0]) == ("cache", "<prices>")
    assert "<script" not in tap._repr_html_()


def test_a_notebook_shows_no_percentile_that_there_is_none_of() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_tool_call("search", True, 5.0)
        header, tool = cells(tap._repr_html_())
        shown = dict(zip(header, tool, strict=True))
        assert [shown[name] for name in ("p50", "p95", "p99")] == ["–", "–", "–"]
        metertap.record_tool_call("search", True, 7.0)
        header, tool = cells(tap._repr_html_())
    shown = dict(zip(header, tool, strict=True))
    assert shown["p50"] == "6.00 ms"
    assert shown["p99"] == "≈7.00 ms"  # no call took longer


def test_a_notebook_shows_a_tap_of_a_process_that_has_seen_nothing() -> None:
    with metertap.instrument() as tap:
        shown = paragraphs(tap._repr_html_())
    assert shown[0].startswith("The live page opens with the first call")
    (said,) = (text for text in shown if text.startswith("No tool has been called yet."))
    assert said.endswith('[tool.metertap.tools] in pyproject.toml: "package.module:function" = {}')
    assert "docs/" not in " ".join(shown)


def test_a_notebook_links_to_the_page_while_it_is_open(free_port: int) -> None:
    with metertap.instrument(json_port=free_port) as tap:
        url = wait_for(lambda: tap.json_url)
        for _ in range(2):
            assert f'href="{url}/"' in tap._repr_html_()
            assert "opens with the first call" not in tap._repr_html_()
            metertap.record_tool_call("search", True, 5.0)
    assert "href=" not in tap._repr_html_()
    with metertap.instrument(json_endpoint=False) as tap:
        assert "href=" not in tap._repr_html_()


def test_a_notebook_waits_a_moment_for_a_page_that_is_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metertap.runtime.shown._PAGE_SECONDS", 0.01)
    may_bind = threading.Event()
    with metertap.instrument() as tap:
        assert tap.pipeline.json is not None
        tap.pipeline.json.endpoint.may_bind = lambda: may_bind.wait(60)
        metertap.record_tool_call("search", True, 5.0)
        assert paragraphs(tap._repr_html_())[0].startswith("The live page is starting")
        assert "page is starting, 1 tool" in repr(tap)
        monkeypatch.setattr("metertap.runtime.shown._PAGE_SECONDS", 60.0)
        threading.Timer(0.05, may_bind.set).start()
        assert f'href="{tap.json_url or "http:"}' in tap._repr_html_()


def test_caches_have_their_hits() -> None:
    for _ in range(3):
        metertap.record_cache_hit("prices")
    metertap.record_cache_miss("prices")
    caches = tables(document())[-1]
    row = dict(zip(caches.headers, caches.rows[0], strict=True))
    assert [row[name] for name in ("lookups", "hits", "hit %")] == ["4", "3", "75.0"]


def test_a_legend_has_one_line_for_each_thing() -> None:
    table = Table("", ("a",), [("1",)], legend="one\ntwo")
    assert plain(table).splitlines()[-2:] == ["  one", "  two"]


def test_of_many_rows_the_first_are_shown_and_the_rest_is_counted() -> None:
    table = Table("", ("a",), [(str(number),) for number in range(1500)], legend="one")
    lines = plain(shortened(table, 2)).splitlines()
    assert lines == ["  a", "  0", "  1", "  2 of 1,500 rows.", "  one"]
    assert shortened(table, 1500) is table


def test_a_long_name_widens_no_table() -> None:
    lines = plain(Table("", ("a", "b"), [("long" * 50, "1")], frozenset("b"))).splitlines()
    assert max(map(len, lines)) < 90
    assert "".join(line[:82].strip() for line in lines[1:]) == "long" * 50
