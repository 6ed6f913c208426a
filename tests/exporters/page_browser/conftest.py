"""A real Chromium, and the page of this process in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import metertap
from metertap import Tap
from servers.real import program
from support.browser_page import Open, Seen
from support.waiting import wait_for


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright_api = pytest.importorskip("playwright.sync_api")
    executable = program("chromium")
    # Five seconds are not enough on a loaded machine.
    playwright_api.expect.set_options(timeout=60_000)
    with playwright_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


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
