"""Figures on the page are those of the document, and say what they are of."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import metertap
from metertap import Tap, catalogue, state
from support.browser_page import MARKUP, ROWS, Open, record, url_of
from support.http import get

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.real, pytest.mark.programs]


@contextmanager
def load() -> Iterator[None]:
    """Tools and a cache at work in other threads: fast, slow, failing."""
    ended = threading.Event()
    cache = metertap.cache_meter("prompts")

    @metertap.tool
    def fast() -> None:
        cache.miss()
        cache.hit()
        cache.hit()

    @metertap.tool
    def slow() -> None:
        time.sleep(0.03)

    @metertap.tool
    def failing() -> None:
        time.sleep(0.002)
        if next(turns) % 4 == 0:
            raise ConnectionError

    turns = iter(range(10**9))

    def work() -> None:
        while not ended.wait(0.005):
            for one in (fast, slow, failing):
                try:
                    one()
                except ConnectionError:
                    pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def in_milliseconds(text: str) -> tuple[float, float]:
    """What is shown, and by how much rounding may have changed it."""
    match = re.fullmatch(r"(?:≈ ?)?(-?[\d.]+) (µs|ms|s|min)", text)
    assert match, text
    number, unit = match.groups()
    factor = {"µs": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0}[unit]
    decimals = len(number.partition(".")[2])
    return float(number) * factor, 0.5001 * 10**-decimals * factor


def whole(text: str) -> int:
    return int(text.replace("\u2009", "").replace(" ", ""))


def test_figures_on_screen_equal_the_document_under_load(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap))
    with load():
        seen.next_poll(4)
        seen.wait_for("document.querySelector('#fact-rate').textContent > 10")
    document = get(f"{tap.json_url}/metrics").json()
    seen.next_poll()
    assert set(seen.names()) == {"fast", "slow", "failing"}
    for name, tool in document["tool_metrics"].items():
        for key in ("p50", "p95", "p99"):
            shown, rounding = in_milliseconds(seen.cell(name, key))
            assert shown == pytest.approx(tool[f"{key}_latency_ms"], abs=rounding), (name, key)
        assert whole(seen.cell(name, "Calls")) == tool["total_calls"]
        assert whole(seen.cell(name, "Active")) == tool["active_calls"] == 0
    failing = document["tool_metrics"]["failing"]
    success = seen.cell("failing", "Success")
    assert success.startswith("✕")  # not by colour alone
    shown = float(re.findall(r"[\d.]+", success)[0])
    assert shown == pytest.approx(failing["success_rate"], abs=0.05001)
    assert seen.cell("fast", "Success") == "100 %"
    assert seen.cell("failing", "Errors").startswith("ConnectionError ")
    assert seen.cell("fast", "Errors") == "–"
    prompts = document["cache_metrics"]["prompts"]
    assert seen.cell("prompts", "Hit rate") == f"{prompts['hit_rate']:.1f} %"
    assert whole(seen.cell("prompts", "Lookups")) == prompts["total_requests"]
    assert seen.cell("prompts", "Evictions") == "0"
    assert seen.cell("prompts", "Entries") == "–"  # nobody knows: not 0
    assert seen.texts("#slowest button, #failing button, #unhelpful button") == [
        "slow",
        "failing",
        "prompts",
    ]


def test_rates_are_those_of_the_load(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap))
    record("search", *[1.0] * 40)
    seen.wait_for(
        """[...document.querySelectorAll('td[data-label="Calls/s"]')]
            .some((cell) => Number(cell.innerText) > 0)"""
    )
    seen.wait_for(
        """[...document.querySelectorAll('td[data-label="Calls/s"]')]
            .every((cell) => cell.innerText.trim() === "0")"""
    )


def test_no_data_is_a_dash(tap: Tap, opened: Open) -> None:
    metertap.tool(name="never called")(print)
    record("once", 5.0)
    seen = opened(url_of(tap))
    seen.tab.wait_for_selector(f"{ROWS} >> nth=1")
    assert [seen.cell("never called", label) for label in ("Success", "p50", "p95", "p99")] == [
        "–"
    ] * 4
    assert seen.cell("once", "p95") == "–"  # of one sample
    assert seen.cell("never called", "Calls") == "0"
    assert seen.cell("prompts", "Hit rate") == "–"


def test_an_estimate_and_an_extrapolation_say_so(tap: Tap, opened: Open) -> None:
    record("few", *range(1, 30))
    seen = opened(url_of(tap))
    assert seen.cell("few", "p50") == "15.0 ms"
    assert seen.cell("few", "p99") == "≈ 29.0 ms"  # the longest call, and not beyond it
    assert metertap.get_all_metrics()["tool_metrics"]["few"]["p99_latency_ms"] > 29.0
    assert "p95 28.5 ms" in seen.texts("#slowest .answer")[0].replace("\n", " ")


def record_operation(
    metric: catalogue.Metric, seconds: float, method: str = "", name: str = "", error: str = ""
) -> None:
    given = {catalogue.MCP_METHOD: method, catalogue.TOOL_NAME: name, catalogue.ERROR_TYPE: error}
    attributes = {key: value for key, value in given.items() if value}
    state.recorder().record_operation(
        (metric.name, *attributes.items()), metric, attributes, seconds
    )


def test_a_page_says_nothing_of_a_minute_that_it_did_not_watch(tap: Tap, opened: Open) -> None:
    record("search", 1.0, fail=6)
    seen = opened(url_of(tap))
    seen.next_poll(2)
    assert seen.texts("#failing .because") == ["since counting began"]
    told = seen.tab.evaluate(
        """async () => {
            const { Answers } = await import("/answers.js");
            const answers = new Answers(() => {}, () => {});
            const tool = {
                p95_latency_ms: null, failed_calls: 6, successful_calls: 1, success_rate: 14,
            };
            return [1, 30, 59].map((watched) => {
                const recent = { ok: 0, failed: 0, seconds: watched };
                answers.update([{ name: "search", tool, recent }], [], watched);
                return document.querySelector("#failing .because").textContent;
            });
        }"""
    )
    assert told[:2] == ["since counting began"] * 2
    assert told[2] == "since counting began; none in the last minute"


def test_the_card_of_hit_rates_says_which_caches_it_leaves_out(tap: Tap, opened: Open) -> None:
    for name, misses in (("asked", 20), ("hardly asked", 1)):
        meter = metertap.cache_meter(name)
        meter.hit()
        for _ in range(misses):
            meter.miss()
    seen = opened(url_of(tap))
    told = "of 21 lookups; caches with fewer than 20 are left out"
    assert seen.texts("#unhelpful .because") == [told]
    assert seen.texts("#workers") in ([], [""])
    costs = "(await import('/costs.js')).money"
    assert seen.tab.evaluate(f"async () => [0.5, 0.123, 1].map({costs})") == [
        *("$0.50", "$0.123", "$1.00")
    ]


def test_a_row_tells_errors_of_callers_from_failures(tap: Tap, opened: Open) -> None:
    record("search", 1.0, fail=6)
    recorder = state.recorder()
    recorder.record_tool(recorder.tool("search", "manual"), "caller_error", "TypeError", 1.0)
    seen = opened(url_of(tap))
    assert seen.cell("search", "Errors") == "ConnectionError 6, TypeError 1 (caller)"
    seen.row("search").locator("button").first.click()
    seen.tab.wait_for_selector("#tools .details .error")
    assert seen.texts("#tools .details .error dt") == ["ConnectionError"]
    assert seen.texts("#tools .details .callers dd") == ["1 × (caller)"]


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_weights_have_their_units_in_their_headings_and_stay_in_their_card(
    tap: Tap, opened: Open, width: int
) -> None:
    for _ in range(15):
        state.recorder().weight("search", "manual").record(5_000)
    found = get(f"{tap.json_url}/metrics").json()
    for tool in found["weight_metrics"]["tools"].values():
        tool["results"]["tokens_per_day"] = 74_094_123
    found["system_metrics"]["uptime_seconds"] = 89.0
    tab = opened(url_of(tap), viewport={"width": width, "height": 900})
    tab.tab.route("**/metrics", lambda route: route.fulfill(json=found))
    tab.wait_for("document.querySelector('#weight-told').textContent.includes('A day is')")
    assert "the rate of the 1 min 29 s since counting began" in tab.texts("#weight-told")[0]
    assert tab.cell("search", "A day, tokens").startswith("≈ 74")
    over = tab.tab.evaluate(
        """() => [...document.querySelectorAll("#weights td, #weights thead button")]
            .filter((part) => {
                const text = document.createRange();
                text.selectNodeContents(part);
                const card = document.querySelector("#weights").getBoundingClientRect();
                const { left, right } = text.getBoundingClientRect();
                return right > card.right || left < card.left;
            })
            .map((part) => part.textContent)"""
    )
    assert over == []
    labels = tab.tab.evaluate(
        """() => [...document.querySelectorAll("#weights .row > td")]
            .filter((cell) => cell.scrollWidth > cell.clientWidth)
            .map((cell) => cell.dataset.label)"""
    )
    assert labels == []  # on a phone a cell has its heading above it


def test_requests_and_sessions_are_shown_where_there_are_any(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap))
    assert not seen.tab.locator("#mcp").is_visible()
    for milliseconds in range(1, 31):
        record_operation(catalogue.SERVER_DURATION, milliseconds / 1000, "tools/call", MARKUP)
    record_operation(catalogue.SERVER_DURATION, 0.2, "tools/list", error="TimeoutError")
    record_operation(catalogue.CLIENT_DURATION, 0.3, "tools/list")
    for seconds in (60.0, 120.0):
        record_operation(catalogue.SERVER_SESSION, seconds)
    seen.tab.wait_for_selector("#operations tr.row >> nth=2")
    rows = seen.tab.locator("#operations tr.row")
    assert rows.locator(".name").all_inner_texts() == [
        f"tools/call {MARKUP}",
        "tools/list",
        "tools/list",
    ]
    assert seen.texts('#operations [data-label="Seen by"]') == ["server", "client", "server"]
    assert seen.texts('#operations [data-label="Success"]')[0] == "100%"
    assert seen.texts('#operations [data-label="p99"]')[0] == "≈ 30.0ms"
    assert seen.texts('#operations [data-label="Success"]')[2] == "0%"
    rows.locator(".name").nth(2).click()
    seen.tab.wait_for_selector("#operations .details .error")
    assert seen.texts("#operations .details .error dt") == ["TimeoutError"]
    (told,) = seen.texts("#sessions")
    assert told.startswith("Sessions that have ended: 2 as server (half of them within 90.0 s,")
    seen.tab.locator("#filter").fill("call")
    assert seen.texts("#operations-count") == ["1 of 3"]
