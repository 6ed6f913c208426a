"""Rows are sorted, filtered and unfolded, by pointer and by keyboard."""

from __future__ import annotations

import pytest

import metertap
from metertap import Tap
from support.browser_page import ROWS, Open, record, url_of

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_sorting_by_the_headings(tap: Tap, opened: Open) -> None:
    record("b", 10.0, 10.0)
    record("a", 30.0, 30.0, 30.0)
    record("c", 20.0, 20.0, 20.0, 20.0)
    metertap.tool(name="none")(print)
    seen = opened(url_of(tap))
    assert seen.names() == ["a", "c", "b", "none"]  # by p95, the slowest first
    heading = seen.tab.get_by_role("columnheader", name="Calls", exact=True)
    heading.get_by_role("button").click()
    assert seen.names() == ["c", "a", "b", "none"]
    assert heading.get_attribute("aria-sort") == "descending"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert seen.names() == ["none", "b", "a", "c"]
    seen.tab.get_by_role("columnheader", name="p50").get_by_role("button").focus()
    seen.tab.keyboard.press("Enter")
    seen.tab.keyboard.press("Enter")
    assert seen.names() == ["b", "c", "a", "none"]  # what has no value stands last either way
    assert heading.get_attribute("aria-sort") is None
    seen.tab.reload()
    seen.tab.wait_for_selector(ROWS)
    assert seen.names() == ["b", "c", "a", "none"]


def test_rows_follow_their_figures_but_not_under_the_pointer(tap: Tap, opened: Open) -> None:
    record("a", 10.0, 10.0)
    record("b", 20.0, 20.0)
    seen = opened(url_of(tap))
    assert seen.names() == ["b", "a"]
    seen.row("a").hover()
    record("a", *[90.0] * 30)
    seen.next_poll()
    assert seen.names() == ["b", "a"]
    seen.tab.mouse.move(2, 2)
    seen.next_poll()
    assert seen.names() == ["a", "b"]


def test_filter_and_its_keys(tap: Tap, opened: Open) -> None:
    for name in ("search_web", "search_mail", "price"):
        record(name, 1.0, 2.0)
    seen = opened(url_of(tap))
    seen.tab.keyboard.press("/")
    seen.tab.keyboard.type("SEARCH")
    assert sorted(seen.names()) == ["search_mail", "search_web"]
    assert seen.texts("#tools-count") == ["2 of 3"]
    seen.next_poll()
    assert sorted(seen.names()) == ["search_mail", "search_web"]
    seen.tab.keyboard.type("x")
    assert seen.names() == []
    assert "SEARCHx" in seen.texts("#tools-empty")[0]
    seen.tab.keyboard.press("Escape")
    assert len(seen.names()) == 3


def test_all_of_it_by_keyboard(tap: Tap, opened: Open) -> None:
    record("a", 30.0, 30.0)
    record("b", 10.0, 10.0)
    seen = opened(url_of(tap))
    first, second = (seen.tab.get_by_role("button", name=name, exact=True) for name in "ab")
    first = first.last  # before it is the answer to what is slowest
    for _ in range(40):
        seen.tab.keyboard.press("Tab")
        if first.evaluate("(button) => button === document.activeElement"):
            break
    expect(first).to_be_focused()
    seen.tab.keyboard.press("ArrowDown")
    expect(second).to_be_focused()
    seen.tab.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-expanded", "true")
    expect(seen.tab.locator("tr.detail")).to_be_visible()
    seen.tab.keyboard.press("ArrowUp")
    expect(first).to_be_focused()
    seen.tab.keyboard.press("Space")
    expect(first).to_have_attribute("aria-expanded", "true")
    expect(second).to_have_attribute("aria-expanded", "false")
    assert seen.tab.locator("tr.detail").count() == 1


def test_rows_stay_the_same_elements(tap: Tap, opened: Open) -> None:
    record("search", 1.0, 2.0)
    seen = opened(url_of(tap))
    seen.tab.evaluate(f"document.querySelector('{ROWS}').mine = true")
    record("search", 500.0, 500.0)
    seen.next_poll()
    assert seen.cell("search", "Calls") == "4"
    assert seen.tab.evaluate(f"document.querySelector('{ROWS}').mine")
