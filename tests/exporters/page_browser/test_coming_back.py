"""A process that goes, comes back, is another one or counts anew; a tab that is hidden."""

from __future__ import annotations

import re
import sys

import pytest

import metertap
from metertap import Tap
from support.browser_page import ROWS, Open, record, url_of
from support.http import get
from support.programs import started
from support.waiting import wait_for

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.real, pytest.mark.programs]


OTHER_PROCESS = (
    "import sys, time, metertap\n"
    "metertap.instrument(json_port=int(sys.argv[1]))\n"
    "for number in range(30): metertap.record_tool_call(sys.argv[2], True, 5.0)\n"
    "time.sleep(300)\n"
)


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
