"""MCP operations and sessions: in `top`, and in `snapshot`."""

from __future__ import annotations

import json
import re

import pytest

from metertap import text
from metertap.cli import main
from metertap.cli.typed_json import read
from metertap.tables.document import Document
from support.watched import FAST, Measured, cells, names, top

pytestmark = pytest.mark.programs

PERCENTILES = ("p50", "p95", "p99")


@pytest.fixture
def mcp(shop: Measured) -> Measured:
    """Return a process that answered and made MCP requests, and whose sessions ended."""
    shop.do("SERVER, CLIENT = catalogue.SERVER_DURATION, catalogue.CLIENT_DURATION")
    shop.do("[record_operation(SERVER, n / 1000, 'tools/call', 'search') for n in range(1, 121)]")
    shop.do("record_operation(SERVER, 0.5, 'tools/call', 'search', 'ValueError')")
    shop.do("[record_operation(SERVER, 2.0, 'resources/list') for _ in 'ab']")
    shop.do("record_operation(CLIENT, 0.3, 'tools/call', 'search')")
    shop.do("[record_operation(catalogue.SERVER_SESSION, seconds) for seconds in (10.0, 20.0)]")
    shop.do("record_operation(catalogue.CLIENT_SESSION, 5.0)")
    return shop


def test_a_snapshot_has_operations_and_sessions(
    mcp: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {(it["side"], it["method"]): it for it in mcp.document()["operations"]}
    assert main(["snapshot", mcp.url]) == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    search = found["server", "tools/call"]
    latencies = [text.latency(search[f"{which}_latency_ms"]).strip() for which in PERCENTILES]
    failed = ["121", "99.2", "1", *latencies, "ValueError 1"]
    assert ["tools/call search", "server", *failed] in rows
    assert ["tools/call search", "client", "1", "100", "0", "–", "–", "–"] in rows
    # The formula's p95 of two calls lies beyond both, and the longest call is shown.
    assert ["resources/list", "server", "2", "100", "0", "2.00 s", "≈2.00 s", "≈2.00 s"] in rows
    assert ["server", "2", "0", "15.0 s", "≈20.0 s", "≈20.0 s"] in rows


def test_top_has_a_table_of_operations(mcp: Measured) -> None:
    with top(mcp.url, columns=140, lines=40) as terminal:
        screen = terminal.shows(lambda text: cells(text, "resources/list")[1:2] == ["0"])
        assert "2 server sessions ended, p50 15.0 s" in " ".join(screen.split())
        assert "1 client session ended, p50 –" in " ".join(screen.split())
        assert cells(screen, "resources/list")[1:] == [
            *("0", "100", "2.00 s", "≈2.00 s", "≈2.00 s", "server", "2", "–")
        ]
        terminal.press("\t" + "s")
        terminal.shows(lambda text: "operation 3" in text and "ok %▲" in text)
        mcp.do("record_operation(SERVER, 0.1, 'resources/list', error='KeyError')")
        screen = terminal.shows(lambda text: cells(text, "resources/list")[-1:] == ["KeyError 1"])
        assert cells(screen, "resources/list")[2] == "✕66.7"
        terminal.press("\r")
        screen = terminal.shows(lambda text: "longest 2.00 s" in text)
        assert "KeyError 1" in screen
        assert "seen by the server" in screen
        terminal.press("\t")  # there is no cache
        terminal.shows(lambda text: "Tab operations" in text)


def test_each_side_is_a_row_of_its_own(mcp: Measured) -> None:
    with top(mcp.url, columns=140, lines=40) as terminal:
        terminal.shows(lambda text: names(text, "operation").count("tools/call") == 2)
        terminal.press("\tjj")
        terminal.press("/search\r")
        terminal.shows(lambda text: "operation 2 of 3" in text)


def test_tab_goes_through_the_tables_that_have_rows(mcp: Measured) -> None:
    mcp.do("metertap.record_cache_hit('prompts')")
    with top(mcp.url, columns=140, lines=24) as terminal:
        for following in ("operations", "caches", "tools", "operations"):
            terminal.shows(lambda text, following=following: f"Tab {following}" in text)
            terminal.press("\t")
        terminal.press("\x1b[Z")  # shift-Tab
        terminal.shows(lambda text: "Tab operations" in text)


def test_json_has_operations_under_the_documents_names(
    mcp: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", *FAST, "--json", mcp.url]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    document = mcp.document()
    for shown, operation in zip(found["operations"], document["operations"], strict=True):
        assert shown["calls_per_second"] == 0.0
        assert {key: shown[key] for key in operation} == operation
    assert [session["side"] for session in found["sessions"]] == ["server", "client"]


def test_a_document_of_an_older_process_has_none(
    mcp: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    document = mcp.document()
    del document["operations"], document["sessions"]
    older = read(json.dumps(document).encode(), Document)
    assert older.get("operations") is None


def test_a_process_that_only_has_operations_shows_them_first(
    mcp: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    from metertap.tables.figures import tables

    document = mcp.document()
    document["tool_metrics"] = {}
    first, *_rest = tables(read(json.dumps(document).encode(), Document))
    assert first.headers[0] == "MCP operation"
    assert first.title.startswith("shop ")
