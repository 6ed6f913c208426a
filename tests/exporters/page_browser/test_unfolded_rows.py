"""Details of a row, its charts, and what is kept of them."""

from __future__ import annotations

import pytest

import metertap
from metertap import Tap
from metertap.install_command import install_command
from metertap_exporters.page import page as served
from support.browser_page import Open, record, url_of
from support.http import get
from support.waiting import wait_for

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_a_caches_hit_rate_by_tool_unfolds(tap: Tap, opened: Open) -> None:
    cache = metertap.cache_meter("prompts")
    for name, hits in (("search", 3), ("price", 1)):
        with metertap.measure_tool(name):
            cache.miss()
            for _ in range(hits):
                cache.hit()
    seen = opened(url_of(tap))
    seen.tab.get_by_role("button", name="prompts", exact=True).last.click()
    rows = [row.split("\t") for row in seen.texts(".by-tool tbody tr")]
    assert rows == [["search", "75.0 %", "3", "1"], ["price", "50.0 %", "1", "1"]]


LINES = """(kind) => {
    const place = [...document.querySelectorAll(".chart.js-plotly-plot")][kind];
    return place.data.map((line) => [line.name, [...line.y], line.x.length]);
}"""


def test_what_is_kept_over_a_reload_is_bounded(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap))
    kept, seconds, tools = seen.tab.evaluate(
        """async () => {
            const { History } = await import("/history.js");
            const template = await (await fetch("/metrics")).json();
            const history = new History();
            for (let second = 0; second < 1500; second++) {
                const tools = {};
                for (let number = 0; number < 200; number++) {
                    const total = second * number;
                    tools[`tool ${number}`] = {
                        total_calls: total, outcomes: { ok: total }, error_types: {},
                        p50_latency_ms: 1.23456789 + second, p95_latency_ms: 2.3456789 + second,
                        p99_latency_ms: 3.456789 + second,
                    };
                }
                const timestamp = template.timestamp + second;
                history.add({ ...template, timestamp, tool_metrics: tools });
            }
            history.save();
            const again = new History();
            again.load();
            return [
                sessionStorage.getItem("metertap.history").length,
                history.times.length,
                again.tools.size,
            ];
        }"""
    )
    assert 100_000 < kept <= 2_000_000
    assert 600 <= seconds <= 640
    assert tools == 200


@pytest.mark.skipif(served.chart_library() is None, reason="plotly is not installed")
def test_charts_of_a_tool(tap: Tap, opened: Open) -> None:
    record("search", *[10.0] * 20)
    seen = opened(url_of(tap))
    seen.tab.get_by_role("button", name="search", exact=True).last.click()
    seen.wait_for("document.querySelectorAll('.chart .main-svg').length >= 2")

    def calls_are_drawn() -> bool:
        # A poll may come in the middle, and what came while the page did not look for six seconds,
        # as on a loaded machine, is not drawn.
        record("search", *[900.0] * 40, fail=4)
        seen.next_poll(2)
        traffic = {name: y for name, y, _ in seen.tab.evaluate(LINES, 1)}
        assert set(traffic) <= {"ok", "failed"}
        pairs = zip(traffic["ok"], traffic.get("failed", ()), strict=False)
        return any(ok and failed and ok / failed == pytest.approx(10) for ok, failed in pairs)

    wait_for(calls_are_drawn, 180)
    document = get(f"{tap.json_url}/metrics").json()
    latency = {name: y for name, y, _ in seen.tab.evaluate(LINES, 0)}
    assert list(latency) == ["p50", "p95", "p99"]
    assert latency["p95"][0] == 10.0
    assert latency["p50"][-1] == document["tool_metrics"]["search"]["p50_latency_ms"]
    # The library is sent once, though it is looked into before it runs; its rules are in force.
    sent = seen.tab.evaluate(
        """performance.getEntriesByType("resource")
            .filter((entry) => entry.name.includes("/charts-library.js"))
            .map((entry) => entry.transferSize > 0)"""
    )
    assert sent == [True, False]
    assert seen.tab.evaluate("getComputedStyle(document.querySelector('.main-svg')).position") == (
        "absolute"
    )
    points = seen.tab.evaluate(LINES, 1)[0][2]
    seen.tab.reload()
    seen.wait_for("document.querySelectorAll('.chart .main-svg').length >= 2")
    assert seen.tab.evaluate(LINES, 0)[0][2] >= points  # what was seen before is still there


def test_without_the_library_tables_work_and_a_line_says_what_to_install(
    tap: Tap, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "chart_library", lambda: None)
    record("search", 10.0, 20.0, fail=1)
    seen = opened(url_of(tap))
    seen.tab.get_by_role("button", name="search", exact=True).last.click()
    line = seen.tab.locator(".instead")
    expect(line).to_have_text(f"Charts need one more package: {install_command('dashboard')}")
    record("search", 10.0)
    seen.next_poll()
    assert seen.cell("search", "Calls") == "4"
    assert "ConnectionError" in seen.texts(".details")[0]
