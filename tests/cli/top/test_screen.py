"""The live screen: every figure is the document's, and what keys do to it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from metertap import text as figures
from support.emulated_terminal import emulated
from support.programs import METERTAP, started
from support.watched import ESCAPED, HOSTILE, PROGRAM, Measured, cells, measured, names, top

pytestmark = pytest.mark.programs


def at_most(value: float | None, longest: float | None) -> str:
    shown = value if value is None or longest is None else min(value, longest)
    return figures.latency(shown).strip()


def test_every_figure_on_the_screen_is_the_documents(shop: Measured) -> None:
    shop.do("[record('search', True, 1.5 * n) for n in range(1, 201)]")
    shop.do("[record('order', n % 4 > 0, 20.0 * n, 'ValueError') for n in range(1, 101)]")
    shop.do("busy = metertap.measure_tool('report'); busy.__enter__()")
    shop.do("prompts = metertap.cache_meter('prompts')")
    shop.do("[prompts.hit() for _ in range(30)]; [prompts.miss() for _ in range(10)]")
    shop.do("prompts.evicted(7)")
    document = shop.document()
    with top(shop.url, columns=140) as terminal:
        screen = terminal.shows(lambda text: cells(text, "search")[1:2] == ["0"])
        for name, tool in document["tool_metrics"].items():
            percentiles = [
                ("≈" if which in tool["extrapolated"] and tool[f"{which}_latency_ms"] else "")
                + at_most(tool[f"{which}_latency_ms"], tool["max_latency_ms"])
                for which in ("p50", "p95", "p99")
            ]
            assert cells(screen, name) == [
                name,
                "0",
                figures.percent(tool["success_rate"]),
                *percentiles,
                str(tool["active_calls"]),
                str(tool["total_calls"]),
                *([f"{name} {n}" for name, n in tool["error_types"].items()] or ["–"]),
            ]
        assert cells(screen, "search")[3:6] == ["151 ms", "286 ms", "298 ms"]
        assert cells(screen, "order")[2] == "75.0"
        assert cells(screen, "report")[2:8] == ["–", "–", "–", "–", "1", "0"]
        assert cells(screen, "prompts") == ["prompts", "0", "75.0", "40", "7", "–", "manual"]
        shop.do("record('order', False, 20.0, 'KeyError'); prompts.miss()")
        screen = terminal.shows(
            lambda text: cells(text, "order")[-1:] == ["ValueError 25, KeyError 1"]
        )
        assert cells(screen, "order")[2] == "✕74.3"  # it fails at this moment
        assert cells(terminal.shows(lambda text: " 41 " in text), "prompts")[2] == "73.2"


def test_tools_under_load_have_their_rates() -> None:
    load = (
        "import threading, time; stop = threading.Event(); "
        "run = lambda: [record('busy', True, 1.0) or time.sleep(0.005) "
        "for _ in iter(stop.is_set, True)]; threading.Thread(target=run).start()"
    )
    with measured("shop", first=load) as shop, top(columns=140) as terminal:
        terminal.shows(
            lambda text: 10 < float((cells(text, "busy") or "00")[1].strip("–<") or 0) <= 220
        )
        shop.do("stop.set()")
        terminal.shows(lambda text: cells(text, "busy")[1] == "0")
        total = shop.document()["tool_metrics"]["busy"]["total_calls"]
        terminal.shows(lambda text: cells(text, "busy")[7] == str(total))


@pytest.fixture
def three(shop: Measured) -> Measured:
    """Return a process with three tools, in another order by each column."""
    shop.do("[record('a_quick', True, 1.0) for _ in range(3)]")
    shop.do("[record('b_slow', n > 0, 900.0, 'KeyError') for n in range(9)]")
    shop.do("[record('c_failing', n > 3, 50.0, 'ValueError') for n in range(6)]")
    shop.do("metertap.cache_meter('good').hit(); metertap.cache_meter('bad').miss()")
    return shop


def test_keys_sort_and_reverse(three: Measured) -> None:
    with top(three.url, columns=140) as terminal:
        slowest_first = ["b_slow", "c_failing", "a_quick", "first"]
        terminal.shows(lambda text: "p95▼" in text and names(text) == slowest_first)
        for key, header, order in (
            ("r", "p95▲", ["a_quick", "c_failing", "b_slow", "first"]),  # no data stays last
            ("n", "tool▲ 4", ["a_quick", "b_slow", "c_failing", "first"]),
            ("n", "tool▼ 4", ["first", "c_failing", "b_slow", "a_quick"]),
            ("s", "ok %▲", ["c_failing", "b_slow", "a_quick", "first"]),
            ("t", "calls▼", ["b_slow", "c_failing", "a_quick", "first"]),
            ("e", "errors▲", ["b_slow", "c_failing", "a_quick", "first"]),
            ("<", "calls▼", ["b_slow", "c_failing", "a_quick", "first"]),
            (">>", "tool▲ 4", ["a_quick", "b_slow", "c_failing", "first"]),
        ):
            terminal.press(key)
            terminal.shows(
                lambda text, header=header, order=order: header in text and names(text) == order
            )


def test_tab_gives_the_keys_to_the_caches(three: Measured) -> None:
    with top(three.url, columns=140) as terminal:
        terminal.shows(lambda text: "hit %▲" in text and names(text, "cache") == ["bad", "good"])
        terminal.press("\tr")
        terminal.shows(lambda text: "hit %▼" in text and names(text, "cache") == ["good", "bad"])
        terminal.shows(lambda text: "Tab tools" in text)
        assert names(terminal.text())[0] == "b_slow"


def test_the_filter_hides_what_has_not_its_text(three: Measured) -> None:
    with top(three.url, columns=140) as terminal:
        terminal.shows(lambda text: "b_slow" in text)
        terminal.press("/FAILq")
        terminal.shows(lambda text: "No tool has “FAILq” in its name." in text)
        terminal.press("\x7f")
        terminal.shows(lambda text: "tool 1 of 4" in text and names(text) == ["c_failing"])
        assert "cache 0 of 2" in terminal.text()
        terminal.press("\r")
        terminal.shows(lambda text: "filter “FAIL”, Esc clears it" in text)
        terminal.press("\x1b")  # Escape alone, with nothing after it
        terminal.shows(lambda text: "tool 4 " in text and len(names(text)) == 4)
        assert terminal.process.poll() is None


def test_two_hundred_tools_scroll(shop: Measured) -> None:
    shop.do("[record(f'tool_{n:03}', True, 1000.0 - n) for n in range(200) for _ in 'ab']")
    shop.do("[metertap.cache_meter(f'cache_{n}').hit() for n in range(9)]")
    with top(shop.url, columns=80, lines=24) as terminal:
        screen = terminal.shows(lambda text: "tool 1–12 of 201" in text)
        assert names(screen)[0] == "tool_000"
        terminal.shows(lambda text: len(names(text, "cache")) == 6)
        for key, first in (
            ("\x1b[6~", "tool_012"),
            ("j", "tool_012"),  # selected: the first that is seen
            ("k\x1b[A", "tool_010"),
            ("\x1b[5~\x1b[5~", "tool_000"),
            ("G", "tool_189"),
            ("\x1b[H", "tool_000"),
        ):
            terminal.press(key)
            terminal.shows(lambda text, first=first: names(text)[0] == first)
        terminal.press("\t")  # the caches have the room now
        terminal.shows(lambda text: len(names(text, "cache")) == len(names(text)) == 9)


def test_the_list_of_keys_names_every_one(shop: Measured) -> None:
    with top(shop.url, columns=80, lines=24) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.press("?")
        screen = terminal.shows(lambda text: "c calls/s" in text)
        assert "v evicted" in screen
        assert "Page Up" in screen
        terminal.press("?")
        terminal.shows(lambda text: "first" in text)


def test_eighty_columns_have_whole_figures_and_both_ends_of_names(shop: Measured) -> None:
    name = "get_customer_records_of_the_last_year_by_id"
    shop.do(f"[record('{name}', n > 1, 12.0, 'SomeQuiteLongErrorType') for n in range(12)]")
    with top(shop.url, columns=80, lines=24) as terminal:
        screen = terminal.shows(lambda text: "get_" in text)
        assert max(map(len, screen.splitlines())) <= 80
        (line,) = (line for line in screen.splitlines() if line.startswith("get_"))
        assert re.match(r"get_custo\w*…\w*_by_id +\S+ +83.3 +≈12.0 ms +≈12.0 ms", line)
        assert "p95▼" in screen


def test_a_resize_is_followed_at_once(shop: Measured) -> None:
    shop.do("[record('search', True, 1.0) for _ in range(3)]")
    with emulated(METERTAP, "top", "--interval", "30", shop.url, columns=140) as terminal:
        terminal.shows(lambda text: "errors" in text and "search" in text)
        terminal.resize(50, 12)
        screen = terminal.shows(lambda text: "search" in text and "p50" not in text)
        assert max(map(len, screen.splitlines())) <= 50
        assert "p95▼" in screen
        assert screen.splitlines()[-1].startswith("q quit")
        terminal.resize(140, 40)
        terminal.shows(lambda text: "p50" in text)
        for columns, lines in ((3, 1), (1, 3), (20, 2), (120, 30)):
            terminal.resize(columns, lines)
        terminal.shows(lambda text: "errors" in text)
        terminal.press("q")
        assert terminal.ends() == 0


def test_the_environments_idea_of_the_size_is_not_asked(shop: Measured) -> None:
    with top(shop.url, columns=140, env={"COLUMNS": "20", "LINES": "5"}) as terminal:
        terminal.shows(lambda text: "errors" in text)


def test_names_cannot_act_on_the_terminal() -> None:
    first = f"[record({HOSTILE!r}, False, 1.0, {HOSTILE!r}) for _ in 'ab']"
    with measured(HOSTILE.replace("\n", "\t"), first=first) as shop:
        shop.do(f"metertap.tool(name={HOSTILE!r})(metertap.cache_meter({HOSTILE!r}).hit)()")
        shop.do(f"record_operation(catalogue.SERVER_DURATION, 1.0, 'tools/call', {HOSTILE!r})")
        with top(shop.url, columns=200, lines=40) as terminal:
            screen = terminal.shows(lambda text: text.count(ESCAPED) == 4)
            assert ESCAPED.replace(r"\n", r"\t") in screen
            terminal.press("\r\t\r\t\r")  # the details have names, too
            screen = terminal.shows(lambda text: re.search(r"looked up by .*\n│ \[red\]", text))
            assert f"{ESCAPED} 2" in screen  # the type of an error
            terminal.press("/[red]\r")
            terminal.shows(lambda text: "filter “[red]”" in text and "tool 1 " in text)
            for act in (b"\x1b[2J", b"\x07", "\u202e".encode()):
                assert act not in terminal.written


ALERTS = """
[alerts]
every = 0.2
window = "30s"
for = "1s"
minimum_calls = 5
"""


def test_alerts_are_shown_what_fires_first(tmp_path: Path) -> None:
    config = tmp_path / "metertap.toml"
    config.write_text(ALERTS)
    fail = f"for _ in range(9): record({HOSTILE!r}, False, 1.0, 'OSError')"
    env = {"METERTAP_CONFIG": str(config), "METRICS_JSON_PORT": "0", "OTEL_SERVICE_NAME": "shop"}
    with started([sys.executable, "-c", PROGRAM], env=env) as process:
        shop = Measured(process)
        shop.do("record('fine', True, 1.0)")
        shop.do("import time; time.sleep(0.5)")
        shop.do(fail)
        with top(shop.url) as terminal:
            screen = terminal.shows(lambda text: re.search("^✕ ", text, re.MULTILINE), 40)
    (line,) = (line for line in screen.splitlines() if line.startswith("✕ "))
    assert ESCAPED in line
    assert "fails: 100 % of 9 calls" in line


def test_no_alert_takes_no_room(shop: Measured) -> None:
    with top(shop.url) as terminal:
        screen = terminal.shows(lambda text: "first" in text)
        assert not any(line.startswith(("✕", "·")) for line in screen.splitlines())
