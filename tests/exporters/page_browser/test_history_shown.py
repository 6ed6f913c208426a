"""Pages of a history: days, versions and costs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import metertap
from metertap.history.answers import Subject
from metertap.history.savings import after_miss
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from support.browser_page import MARKUP, Seen

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_the_history_shows_a_range_of_dates_with_versions_marked(
    browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "history.db"
    today = time.time() // 86_400
    with closing(Store(path, 10_000_000)) as store:
        for day in range(6):
            tool = Tally({"ok": 10})
            tool.sketch().add([0.1 * (day + 1)] * 10)
            tallies = {Subject("tool", MARKUP, "mcp"): tool}
            start = int(today - 6 + day) * 86_400 + 43_200
            store.write(Run("shop", str(1 + day // 3), "one"), [(start, tallies)])
    with metertap.instrument(history=path, service_name="shop") as tap:
        metertap.record_tool_call("other", True, 1.0)
        url = tap.pipeline.json.endpoint.wait(60)
        seen = Seen(browser)
        seen.tab.goto(f"{url}/history")
        row = seen.row(MARKUP)
        expect(row.locator("[data-label=Calls]")).to_have_text("60")
        row.get_by_role("button").click()
        expect(seen.tab.locator("svg.lines .version")).to_have_count(4)  # of two charts
        seen.tab.check("#by-version")
        expect(seen.row(f"{MARKUP} 2").locator("[data-label=Calls]")).to_have_text("30")
        seen.tab.fill("#since", "2020-01-01")
        seen.tab.fill("#until", "2020-02-01")
        expect(seen.tab.locator("#notice")).to_have_text("Nothing was measured in these days.")
        assert seen.complaints == []
        assert all(urlsplit(asked).netloc == urlsplit(url).netloc for asked in seen.asked)
        seen.context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_bars_and_headings_of_a_history_are_whole_on_every_screen(
    browser: Any, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "history.db"
    today = int(time.time() // 86_400) * 86_400
    with closing(Store(path, 10_000_000)) as store:
        for day in range(1, 31):
            called = Tally({"ok": 10})
            called.sketch().add([0.1 * day] * 10)
            tallies = {
                Subject("tool", "search", "mcp"): called,
                Subject("operation", "tools/call search", "server"): called,
                Subject("cache", "prices", "redis"): Tally(hits=day, misses=30),
            }
            store.write(Run("shop of a long name", "1", "one"), [(today - day * 86_400, tallies)])
    with metertap.instrument(history=path, service_name="shop of a long name") as tap:
        metertap.record_tool_call("search", True, 1.0)
        seen = Seen(browser, viewport={"width": width, "height": 900})
        seen.tab.goto(f"{tap.pipeline.json.endpoint.wait(60)}/history")
        seen.tab.click("[data-days='30']")
        bars = seen.tab.locator(".row > td.words:last-child")
        expect(bars.filter(has_text="▇")).to_have_count(3)
        assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width
        assert (
            bars.evaluate_all(
                "cells => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).length"
            )
            == 0
        )
        assert seen.tab.locator("h1").bounding_box()["height"] < 60  # at most two lines
        assert seen.complaints == []
        seen.context.close()


def test_costs_of_each_day_are_on_both_pages_where_a_history_is_kept(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "metertap.toml"
    config.write_text("[tool.metertap.prices]\nm = { input = 1 }\n")
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    path = tmp_path / "history.db"
    yesterday = int(time.time() // 86_400 - 1) * 86_400
    with closing(Store(path, 10_000_000)) as store:
        sums = {"model_calls": 10, "input_tokens": 50, "cost_usd": 5.0}
        looked_up = {"hits_in_calls": 3, "misses_in_calls": 6, after_miss("x", "m"): 5.0}
        subjects = (Subject("tool", MARKUP, "mcp"), Subject("model", "m", "x"))
        tallies = {subject: Tally(extra=sums | looked_up) for subject in subjects}
        store.write(Run("shop", "1", "one"), [(yesterday, tallies)])
    with metertap.instrument(history=path, service_name="shop") as tap:
        with metertap.measure_tool("ask"):
            metertap.record_usage(provider="x", model="m", input_tokens=3_000_000)
        url = tap.pipeline.json.endpoint.wait(60)
        seen = Seen(browser)
        seen.tab.goto(url)
        expect(seen.tab.locator("#costs-models td").first).to_have_text("x/m")
        expect(seen.tab.locator("#costs .days")).to_contain_text("$5.00")
        expect(seen.tab.locator("#costs-days-told")).to_contain_text("Forecast $5.00 a day")
        expect(seen.tab.locator("#costs .days")).to_contain_text("$2.50")  # saved by caches
        expect(seen.tab.locator("#costs-days-told")).to_contain_text("Saved by caches $2.50.")
        seen.tab.goto(f"{url}/history")
        expect(seen.tab.locator("#costs .days-tools")).to_contain_text(MARKUP)
        expect(seen.tab.locator("#costs .days-models")).to_contain_text("x/m")
        assert seen.complaints == []
        seen.context.close()
