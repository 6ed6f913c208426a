"""The live page in a tab of a real browser, and a process that it is of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import metertap
from metertap import Tap
from support.http import get

MARKUP = "<img src=x onerror=\"window.hit=1;document.title='hit'\">"
ROWS = "#tools > tbody > tr.row"


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

    def is_told(self, tap: Tap, **parts: Any) -> None:
        """Let the page get the document with other parts; a function gives one at each poll."""

        def answer(route: Any) -> None:
            told = {name: part() if callable(part) else part for name, part in parts.items()}
            route.fulfill(json={**get(f"{tap.json_url}/metrics").json(), **told})

        self.tab.route("**/metrics", answer)

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


def high_error_rate(tool: str) -> dict[str, Any]:
    """An alert of the document that fires for a tool."""
    return {
        "name": "MetertapHighErrorRate",
        "severity": "critical",
        "state": "firing",
        "tool": tool,
        "cache": None,
        "place": None,
        "value": 12.0,
        "threshold": 5.0,
        "unit": "%",
        "since": time.time(),
        "summary": f"{tool} fails: 12 % of 250 calls in 5 min, more than 5 %",
    }


def url_of(tap: Tap) -> str:
    return str(tap.json_url)


def record(name: str, *latencies_ms: float, fail: int = 0) -> None:
    for latency_ms in latencies_ms:
        metertap.record_tool_call(name, True, latency_ms)
    for _ in range(fail):
        metertap.record_tool_call(name, False, 50.0, "ConnectionError")
