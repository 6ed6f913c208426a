"""The live page in a real Chromium, over the endpoint of a process that does real work."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import metertap
from metertap import Tap, catalogue, state
from metertap.history.answers import Subject
from metertap.history.savings import after_miss
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap.install_command import install_command
from metertap_exporters.page import page as served
from servers.real import program
from support.http import get
from support.programs import started
from support.waiting import wait_for

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]

ROWS = "#tools > tbody > tr.row"
MARKUP = "<img src=x onerror=\"window.hit=1;document.title='hit'\">"
OTHER_PROCESS = (
    "import sys, time, metertap\n"
    "metertap.instrument(json_port=int(sys.argv[1]))\n"
    "for number in range(30): metertap.record_tool_call(sys.argv[2], True, 5.0)\n"
    "time.sleep(300)\n"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = program("chromium")
    expect.set_options(timeout=60_000)  # five seconds are not enough on a loaded machine
    with playwright_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


class Seen:
    """A tab, and everything that it complained of and asked for."""

    def __init__(self, browser: Any, ticks: str = "timeTicks", **options: Any) -> None:
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.devtools = self.context.new_cdp_session(self.tab)
        self.devtools.send("Performance.enable", {"timeDomain": ticks})
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda line: self.complaints.append(f"{line.type}: {line.text}"))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.tab.locator(selector).all_inner_texts()]

    def names(self) -> list[str]:
        """The tools that are shown, from top to bottom."""
        return self.texts(f"{ROWS}:not([hidden]) .name")

    def row(self, name: str) -> Any:
        return self.tab.locator("tr.row").filter(
            has=self.tab.get_by_role("button", name=name, exact=True)
        )

    def cell(self, name: str, label: str) -> str:
        """Number and unit, with a space between them."""
        text: str = (
            self.row(name)
            .locator(f'td[data-label="{label}"]')
            .evaluate(
                "(cell) => [...cell.childNodes].map((part) => part.textContent).join(' ').trim()"
            )
        )
        return text

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Until `script` is true. Playwright's own way needs `eval`, which the page forbids."""
        deadline = time.monotonic() + seconds
        while not self.tab.evaluate(script):
            assert time.monotonic() < deadline, script
            self.tab.wait_for_timeout(50)

    def polls(self) -> int:
        return sum(url.endswith("/metrics") for url in self.asked)

    def next_poll(self, times: int = 1) -> None:
        """Until what is on the page is of a document that is asked for from now on."""
        wanted = self.polls() + times + 1
        deadline = time.monotonic() + 60
        while self.polls() < wanted:
            assert time.monotonic() < deadline
            self.tab.wait_for_timeout(50)


Open = Callable[..., Seen]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens the page of an address; at the end nothing may have gone wrong in any tab.

    `gone=True`: the process is to go away, and the browser may say that it does not answer.
    """
    tabs: list[tuple[Seen, str, bool]] = []

    def opened(url: str, *, gone: bool = False, **options: Any) -> Seen:
        seen = Seen(browser, **options)
        tabs.append((seen, url, gone))
        seen.tab.goto(f"{url}/")
        seen.tab.wait_for_selector("#status[data-state=live]")
        return seen

    yield opened
    for seen, url, gone in tabs:
        seen.context.close()
        refused = "error: Failed to load resource: net::ERR_"
        told = [text for text in seen.complaints if not (gone and text.startswith(refused))]
        assert told == []
        assert {urlsplit(asked).netloc for asked in seen.asked} == {urlsplit(url).netloc}


@pytest.fixture
def tap(free_port: int) -> Iterator[Tap]:
    with metertap.instrument(json_port=free_port) as tap:  # a port that is known opens at once
        metertap.cache_meter("prompts")
        wait_for(lambda: tap.json_url)
        yield tap


def url_of(tap: Tap) -> str:
    return str(tap.json_url)


def record(name: str, *latencies_ms: float, fail: int = 0) -> None:
    for latency_ms in latencies_ms:
        metertap.record_tool_call(name, True, latency_ms)
    for _ in range(fail):
        metertap.record_tool_call(name, False, 50.0, "ConnectionError")


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


def test_two_hundred_tools_are_rendered_in_a_tenth_of_a_second(
    tap: Tap, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(200):
        record(f"tool {number:03}", *[number + 1.0] * 20, fail=number % 7 == 0)
    found: list[float] = []
    while len(found) < 3 or (min(found) > 100 and len(found) < 10):
        # A tab of its own each: the figures are of everything since its beginning. Ticks of its
        # thread and the best of several, because this machine may be busy with other things.
        seen = opened(url_of(tap), ticks="threadTicks")
        seen.tab.wait_for_selector(f"{ROWS} >> nth=199")
        seen.tab.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        answer = seen.devtools.send("Performance.getMetrics")["metrics"]
        measured = {metric["name"]: metric["value"] * 1000 for metric in answer}
        parts = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
        found.append(sum(measured[part] for part in parts))
        names = seen.names()
        seen.tab.close()
    assert len(names) == 200
    with capsys.disabled():
        sys.stdout.write(f"\n200 tools: {sorted(round(ms, 1) for ms in found)} ms\n")
    assert min(found) <= 100


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
    alert = {
        "name": "MetertapHighErrorRate",
        "severity": "critical",
        "state": "firing",
        "tool": name,
        "cache": None,
        "place": None,
        "value": 12.0,
        "threshold": 5.0,
        "unit": "%",
        "since": time.time(),
        "summary": f"{name} fails: 12 % of 250 calls in 5 min, more than 5 %",
    }
    seen = opened(url_of(tap))
    seen.tab.route(
        "**/metrics",
        lambda route: route.fulfill(
            json={**get(f"{tap.json_url}/metrics").json(), "alerts": [alert]}
        ),
    )
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


def test_a_process_that_goes_and_comes_back(free_port: int, opened: Open) -> None:
    with metertap.instrument(json_port=free_port) as tap:
        record("search", 10.0, 20.0)
        seen = opened(wait_for(lambda: tap.json_url), gone=True)
        json = tap.pipeline.json
        assert json is not None
        json.endpoint.stop()
        seen.wait_for("document.querySelector('#status').dataset.state === 'gone'")
        assert re.match(r"gone since \d\d:\d\d:\d\d \(\d+ s\)", seen.texts("#status-text")[0])
        assert "does not answer" in seen.texts("#notice")[0]
        assert seen.names() == ["search"]  # the last that was known of it
        record("search", 30.0)
        json.endpoint.start()
        seen.wait_for("document.querySelector('#status').dataset.state === 'live'")
        assert "answers again" in seen.texts("#notice")[0]
        assert seen.cell("search", "Calls") == "3"


def test_another_process_at_the_same_address(free_port: int, opened: Open) -> None:
    command = (sys.executable, "-c", OTHER_PROCESS, str(free_port))
    url = f"http://127.0.0.1:{free_port}"

    def answers() -> bool:
        try:
            return get(f"{url}/healthz").status == 200
        except OSError:
            return False

    with started((*command, "first")) as process:
        wait_for(answers)
        seen = opened(url, gone=True)
        seen.tab.wait_for_selector(ROWS)
        assert seen.names() == ["first"]
        process.kill()
        seen.wait_for("document.querySelector('#status').dataset.state === 'gone'")
    with started((*command, "second")):
        seen.wait_for("document.querySelector('#status').dataset.state === 'live'")
        assert "Another process answers here" in seen.texts("#notice")[0]
        seen.wait_for("document.querySelector('#tools tbody .name')?.textContent === 'second'")
        assert seen.names() == ["second"]


def test_counting_anew_is_told(tap: Tap, opened: Open) -> None:
    record("search", *[10.0] * 50)
    seen = opened(url_of(tap))
    seen.next_poll()
    metertap.reset_metrics()
    seen.next_poll()
    assert "Counting began anew" in seen.texts("#notice")[0]
    assert seen.cell("search", "Calls") == "0"


def test_a_hidden_tab_does_not_ask(tap: Tap, opened: Open) -> None:
    seen = opened(url_of(tap))

    def hide(hidden: str) -> None:
        seen.tab.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', "
            "{ value: hidden, configurable: true });"
            "document.dispatchEvent(new Event('visibilitychange')); }",
            hidden == "hidden",
        )

    hide("hidden")
    seen.tab.wait_for_timeout(200)  # one may be on its way
    polls = seen.polls()
    seen.tab.wait_for_timeout(2500)
    assert seen.polls() == polls
    hide("shown")
    seen.next_poll()
    assert seen.polls() > polls


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
    assert seen.cell("search", "p95").split()[-2:] != []


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


def test_measuring_that_is_switched_off_is_told(
    tap: Tap, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = opened(url_of(tap))
    seen.tab.route(
        "**/metrics",
        lambda route: route.fulfill(
            json={**get(f"{tap.json_url}/metrics").json(), "enabled": False}
        ),
    )
    seen.next_poll()
    assert "switched off" in seen.texts("#notice")[0]


def test_alerts_are_shown_while_there_are_any(tap: Tap, opened: Open) -> None:
    metertap.record_tool_call("search", True, 1.0)
    fires = {
        "name": "MetertapHighErrorRate",
        "severity": "critical",
        "state": "firing",
        "tool": MARKUP,
        "cache": None,
        "place": None,
        "value": 12.0,
        "threshold": 5.0,
        "unit": "%",
        "since": time.time(),
        "summary": f"{MARKUP} fails: 12 % of 250 calls in 5 min, more than 5 %",
    }
    over = {**fires, "state": "resolved", "summary": "search was slow"}
    alerts: list[Any] | None = None
    seen = opened(url_of(tap))
    seen.tab.route(
        "**/metrics",
        lambda route: route.fulfill(
            json={**get(f"{tap.json_url}/metrics").json(), "alerts": alerts}
        ),
    )
    seen.next_poll()
    assert not seen.tab.locator("#alerts").is_visible()
    alerts = [over, fires]
    seen.next_poll()
    assert seen.texts("#alerts .summary") == [fires["summary"], over["summary"]]
    assert seen.texts("#alerts .state") == ["critical", "resolved"]
    alerts = []
    seen.next_poll()
    assert not seen.tab.locator("#alerts").is_visible()


def test_the_demo_names_the_page_and_a_newcomer_sees_what_is_slow_and_what_fails(
    opened: Open,
) -> None:
    pytest.importorskip("mcp")
    pytest.importorskip("uvicorn")
    command = (sys.executable, "-m", "metertap", "demo")
    environment = {"PYTHONUNBUFFERED": "1"}
    with started(command, env=environment) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        while not any(line.startswith("Live page") for line in lines):
            line = demo.stdout.readline().decode()
            assert line, lines
            lines.append(line)
        url = lines[-1].split()[-1].rstrip("/")
        drained = threading.Thread(target=demo.stdout.read, daemon=True)
        drained.start()
        seen = opened(url, gone=True)
        seen.wait_for(
            """document.querySelector("#slowest button").textContent === "recommend"
            && document.querySelector("#failing button").textContent === "order"
            && document.querySelector("#failing").dataset.state === "bad" """
        )
        demo.kill()
        demo.wait()
        drained.join(60)


def test_a_browser_is_asked_for_the_token(browser: Any) -> None:
    token = "0123456789abcdef-token"
    with metertap.instrument(token=token) as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.json_url)
        # Where nobody can be asked for a password, Chromium gives up.
        refused = pytest.raises(playwright_api.Error, match="ERR_INVALID_AUTH_CREDENTIALS")
        with browser.new_context() as without, refused:
            without.new_page().goto(url)
        credentials = {"username": "anybody", "password": token}
        with browser.new_context(http_credentials=credentials) as context:
            page = context.new_page()
            page.goto(url)
            expect(page.locator(ROWS)).to_have_count(1)


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
