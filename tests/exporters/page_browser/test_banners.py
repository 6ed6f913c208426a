"""Lines above the tables, the address that the demo prints, and the question for the token."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

import metertap
from metertap import Tap
from support.browser_page import MARKUP, ROWS, Open, high_error_rate, url_of
from support.programs import started
from support.waiting import wait_for

playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect

pytestmark = [pytest.mark.real, pytest.mark.programs]


def test_measuring_that_is_switched_off_is_told(
    tap: Tap, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = opened(url_of(tap))
    seen.is_told(tap, enabled=False)
    seen.next_poll()
    assert "switched off" in seen.texts("#notice")[0]


def test_alerts_are_shown_while_there_are_any(tap: Tap, opened: Open) -> None:
    metertap.record_tool_call("search", True, 1.0)
    fires = high_error_rate(MARKUP)
    over = {**fires, "state": "resolved", "summary": "search was slow"}
    alerts: list[Any] | None = None
    seen = opened(url_of(tap))
    seen.is_told(tap, alerts=lambda: alerts)
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
