"""Names that look like markup, or that turn text around, are shown as text."""

from __future__ import annotations

import pytest

import metertap
from metertap import Tap
from support.browser_page import MARKUP, Open, high_error_rate, record, url_of

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_names_are_text_whatever_they_look_like(tap: Tap, opened: Open) -> None:
    record(MARKUP, 1.0, 2.0)
    record("__proto__", 3.0, 4.0)
    record("constructor", 5.0, 6.0)
    metertap.record_tool_call(MARKUP, False, 1.0, "<script>window.hit=1</script>")
    metertap.record_tool_call("constructor", False, 1.0, "constructor")
    cache = metertap.cache_meter(MARKUP)
    with metertap.measure_tool(MARKUP):
        for _ in range(30):
            cache.miss()
    seen = opened(url_of(tap))
    assert sorted(seen.names()) == sorted([MARKUP, "__proto__", "constructor"])
    for button in seen.tab.locator("button.name").all():
        if "prompts" not in button.inner_text():
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")
    metertap.record_tool_call("constructor", False, 1.0, "toString")
    seen.next_poll()
    assert seen.cell("constructor", "Errors") == "constructor 1, toString 1"
    assert MARKUP in seen.texts("#unhelpful button")
    assert seen.tab.locator("img, iframe, body script").count() == 0
    assert seen.tab.evaluate("window.hit") is None


def test_a_name_that_reverses_text_reverses_nothing_but_itself(tap: Tap, opened: Open) -> None:
    name = "delete\u202eevas"
    record(name, 1.0, 2.0)
    metertap.record_tool_call(name, False, 1.0, f"{name}Error")
    for _ in range(30):
        metertap.record_cache_miss(name)
    alert = high_error_rate(name)
    seen = opened(url_of(tap))
    seen.is_told(tap, alerts=[alert])
    seen.next_poll()
    for button in seen.tab.locator("button.name").all():
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
    seen.next_poll()
    # Of every text that has the name: where what follows it on its line stands, from left to right.
    placed = seen.tab.evaluate(
        """(name) => {
          const found = {};
          for (const element of document.querySelectorAll("#alerts .summary, .unfolded .instead")) {
            const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
            let rest = "";
            const places = [];
            for (let text = walker.nextNode(); text; text = walker.nextNode()) {
              for (let at = 0; at < text.data.length; at++) {
                rest += text.data[at];
                const after = rest.indexOf(name);
                if (after < 0 || rest.length <= after + name.length) continue;
                const range = new Range();
                range.setStart(text, at);
                range.setEnd(text, at + 1);
                const { left, top } = range.getBoundingClientRect();
                places.push([Math.round(top), left]);
              }
            }
            if (rest.includes(name)) found[rest] = places;
          }
          return found;
        }""",
        name,
    )
    assert alert["summary"] in placed
    for text, places in placed.items():
        assert len(places) > 20, text
        assert places == sorted(places), text


def test_a_name_that_no_line_can_divide_makes_no_page_wider(tap: Tap, opened: Open) -> None:
    name = "\u1100" * 200  # for a browser, one syllable
    cache = metertap.cache_meter(name)
    metertap.record_tool_call(name, False, 1.0, name)
    with metertap.measure_tool(name):
        cache.miss()
    for width in (1280, 390):
        seen = opened(url_of(tap), viewport={"width": width, "height": 800})
        for button in seen.tab.locator("button.name").all():
            button.click()
            expect(button).to_have_attribute("aria-expanded", "true")
        seen.next_poll()
        assert seen.tab.evaluate("document.documentElement.scrollWidth") == width
