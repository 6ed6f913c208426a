"""Colours, contrast, widths, and the time that many rows take to be drawn."""

from __future__ import annotations

import sys

import pytest

import metertap
from metertap import Tap
from support.browser_page import ROWS, Open, Seen, record, url_of

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_dark_as_the_system_and_by_the_switch(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap), color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = seen.tab.evaluate(ground)
    seen.tab.emulate_media(color_scheme="dark")
    dark = seen.tab.evaluate(ground)
    assert light == "rgb(246, 247, 249)"
    assert dark == "rgb(15, 19, 25)"
    switch = seen.tab.locator("#theme")
    switch.click()
    assert switch.get_attribute("aria-label") == "Colours: light"
    assert seen.tab.evaluate(ground) == light
    seen.tab.reload()
    assert seen.tab.evaluate(ground) == light
    switch.click()
    seen.tab.emulate_media(color_scheme="light")
    assert seen.tab.evaluate(ground) == dark
    switch.click()
    assert seen.tab.evaluate(ground) == light


def contrast(seen: Seen, one: str, other: str) -> float:
    """The ratio of two colours of the style sheet, by WCAG's formula."""
    ratio: float = seen.tab.evaluate(
        """([one, other]) => {
            const style = getComputedStyle(document.documentElement);
            const light = (name) => {
                const hex = style.getPropertyValue(name).trim();
                const [r, g, b] = [1, 3, 5]
                    .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                    .map((part) =>
                        part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const [a, b] = [light(one), light(other)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }""",
        [one, other],
    )
    return ratio


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(tap: Tap, opened: Open, scheme: str) -> None:
    seen = opened(url_of(tap), color_scheme=scheme)
    for text in ("--text", "--faint", "--failed", "--accent"):
        for ground in ("--ground", "--surface", "--raised"):
            assert contrast(seen, text, ground) >= 4.5, (text, ground)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(tap: Tap, opened: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    record("search", 10.0, 20.0, 900.0, fail=2)
    record("translate", 5.0)
    metertap.record_tool_call("translate", False, 5.0, "caller_error")
    metertap.record_cache_hit("prompts")
    seen = opened(url_of(tap), color_scheme=scheme, bypass_csp=True)
    seen.row("search").locator("button").first.click()
    seen.wait_for("document.querySelectorAll('.chart .main-svg').length >= 2")
    seen.tab.wait_for_timeout(500)  # colours change softly
    found = axe.run(seen.tab).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"]) for item in found] == []


SPENT = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
PLAIN_TABLE = """async () => {
    const table = document.createElement("table");
    for (let row = 0; row < 200; row += 1) {
        const cells = table.insertRow();
        for (let cell = 0; cell < 10; cell += 1) {
            cells.insertCell().textContent = `${row} of ${cell}`;
        }
    }
    document.body.append(table);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    table.remove();
}"""


def spent(seen: Seen) -> float:
    """Milliseconds that the thread of a tab has worked so far for what is shown."""
    answer = seen.devtools.send("Performance.getMetrics")["metrics"]
    measured = {metric["name"]: metric["value"] * 1000 for metric in answer}
    return sum(measured[part] for part in SPENT)


def test_two_hundred_tools_take_no_longer_than_some_plain_tables(
    tap: Tap, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(200):
        record(f"tool {number:03}", *[number + 1.0] * 20, fail=number % 7 == 0)
    found: list[float] = []
    for _ in range(3):
        # A tab of its own each: the figures are of everything since its beginning. The plain table
        # is made in the same tab, because this machine may be busy with other things.
        seen = opened(url_of(tap), ticks="threadTicks")
        seen.tab.wait_for_selector(f"{ROWS} >> nth=199")
        seen.tab.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        page = spent(seen)
        seen.tab.evaluate(PLAIN_TABLE)
        plain = spent(seen) - page
        with capsys.disabled():
            sys.stdout.write(f"\n200 tools: {page:.1f} ms; a plain table: {plain:.1f} ms\n")
        found.append(page / plain)
        names = seen.names()
        seen.tab.close()
    assert len(names) == 200
    assert min(found) <= 6


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens_need_no_sideways_scrolling(tap: Tap, opened: Open, width: int) -> None:
    long = "a_tool_with_quite_a_long_name_that_somebody_made_up_for_a_whole_company_and_more"
    record(long, *[123456.0] * 120, fail=3)
    record("search", 1.0, 2.0)
    cache = metertap.cache_meter(long)
    with metertap.measure_tool(long):
        cache.hit()
    seen = opened(url_of(tap), viewport={"width": width, "height": 780})
    for button in (seen.tab.locator(f"{ROWS} button"), seen.tab.locator("#caches button.name")):
        button.first.click()
        seen.next_poll()
        assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing that is shown is cut off at the right.
    over = seen.tab.evaluate(
        """(width) => [...document.querySelectorAll("td, dd, h1, h2, .status")]
            .filter((part) => part.getBoundingClientRect().right > width)
            .map((part) => part.textContent)""",
        width,
    )
    assert over == []
    if width < 720:  # each cell has its heading above it
        labels = seen.tab.evaluate(
            """() => [...document.querySelectorAll(".row > td:not(.words)")]
                .filter((cell) => cell.scrollWidth > cell.clientWidth)
                .map((cell) => cell.dataset.label)"""
        )
        assert labels == []
    assert seen.cell("search", "p95").split()[-2:] != []
