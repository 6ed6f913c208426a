"""`metertap top`: what whoever sits at the terminal sees, and what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import metertap
from metertap import text as figures
from metertap.cli import main
from metertap.cli.top.readings import Readings
from servers.real_servers import free_port
from support import environments
from support.programs import METERTAP, run, started
from support.waiting import wait_for

pytest.importorskip("rich", reason="the live view needs rich")
pytest.importorskip("pyte", reason="a terminal emulator shows what is on the screen")

from metertap.cli.top.keys import Keys
from metertap.cli.top.layout import ColumnRequest, lay_out, shortened
from support.emulated_terminal import EmulatedTerminal, emulated
from support.watched import FAST, PROGRAM, Measured, cells, measured, names, top

HOSTILE = "[red]a\x1b[2J\x07[/red]\n\u202eb"
ESCAPED = r"[red]a\x1b[2J\x07[/red]\n\u202eb"


@pytest.fixture
def shop() -> Iterator[Measured]:
    with measured("shop") as found:
        yield found


# Figures


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
                + figures.latency(
                    at_most(tool[f"{which}_latency_ms"], tool["max_latency_ms"])
                ).strip()
                for which in ("p50", "p95", "p99")
            ]
            assert cells(screen, name) == [
                name,
                "0",
                figures.percent(tool["success_rate"]),
                *percentiles,
                str(tool["active_calls"]),
                str(tool["total_calls"]),
                *(tool["error_types"] or ["–"]),
            ]
        assert cells(screen, "search")[3:6] == ["151 ms", "286 ms", "298 ms"]
        assert cells(screen, "order")[2] == "75.0"
        assert cells(screen, "report")[2:8] == ["–", "–", "–", "–", "1", "0"]
        assert cells(screen, "prompts") == ["prompts", "0", "75.0", "40", "7", "–", "manual"]
        shop.do("record('order', False, 20.0, 'KeyError'); prompts.miss()")
        screen = terminal.shows(lambda text: cells(text, "order")[-1:] == ["KeyError"])
        assert cells(screen, "order")[2] == "✕74.3"  # it fails at this moment
        assert cells(terminal.shows(lambda text: " 41 " in text), "prompts")[2] == "73.2"


def test_tools_under_load_have_their_rates() -> None:
    load = (
        "import threading, time; stop = threading.Event(); "
        "run = lambda: [record('busy', True, 1.0) or time.sleep(0.005) "
        "for _ in iter(stop.is_set, True)]; threading.Thread(target=run).start()"
    )
    with measured("shop", first=load) as shop, top(columns=140) as terminal:
        screen = terminal.shows(
            lambda text: float((cells(text, "busy") or "00")[1].strip("–<") or 0)
        )
        assert 10 < float(cells(screen, "busy")[1]) <= 220
        shop.do("stop.set()")
        terminal.shows(lambda text: cells(text, "busy")[1] == "0")
        total = shop.document()["tool_metrics"]["busy"]["total_calls"]
        terminal.shows(lambda text: cells(text, "busy")[7] == str(total))


def test_rates_are_differences_over_the_documents_own_time() -> None:
    with metertap.instrument(service_name="shop"):
        metertap.record_tool_call("search", True, 1.0)
        metertap.cache_meter("prompts").hit()
        base = metertap.get_all_metrics()
    readings = Readings()

    def read(calls: int, lookups: int, at: float, started: float = 1000.0) -> tuple[object, ...]:
        document = json.loads(json.dumps(base))
        document["system_metrics"] |= {"uptime_seconds": at, "start_time": started}
        document["tool_metrics"]["search"]["total_calls"] = calls
        document["cache_metrics"]["prompts"]["total_requests"] = lookups
        reading = readings.of(document)
        return (
            reading.began_anew,
            reading.tools[0].calls_per_second,
            reading.caches[0].lookups_per_second,
        )

    assert read(10, 100, 50.0) == (False, None, None)
    assert read(20, 100, 54.0) == (False, 2.5, 0.0)
    assert read(20, 103, 56.0) == (False, 0.0, 1.5)
    assert read(3, 4, 1.0, started=2000.0) == (True, None, None)  # another process
    assert read(7, 4, 3.0, started=2000.0) == (False, 2.0, 0.0)
    assert read(7, 4, 3.0, started=2000.0) == (False, None, None)  # the same document
    assert read(1, 1, 4.0, started=2000.0) == (False, None, None)  # less than before is no rate


def test_a_tool_that_appears_between_two_looks_began_at_none() -> None:
    readings = Readings()
    with metertap.instrument():
        metertap.record_tool_call("first", True, 1.0)
        before = metertap.get_all_metrics()
        readings.of(before)
        metertap.record_tool_call("second", False, 1.0, "KeyError")
        after = metertap.get_all_metrics()
    uptime = before["system_metrics"]["uptime_seconds"]
    after["system_metrics"]["uptime_seconds"] = uptime + 2.0
    found = {tool.name: tool for tool in readings.of(after).tools}
    assert found["second"].calls_per_second == pytest.approx(0.5)
    assert (found["second"].failed_lately, found["second"].last_error_type) == (True, "KeyError")
    assert found["first"].failed_lately is False


def test_figures_are_short_and_no_data_is_a_dash() -> None:
    latencies = (None, 0.0, 0.0123, 0.123, 9.994, 12.34, 999.4, 1234.5, 123_456.0)
    shown = [
        "–",
        "0.00 ms",
        "12.3 µs",
        "0.12 ms",
        "9.99 ms",
        "12.3 ms",
        "999 ms",
        "1.23 s",
        "2.06 m",
    ]
    assert [figures.latency(value).strip() for value in latencies] == shown
    assert [figures.percent(value) for value in (None, 0.0, 0.01, 33.33, 99.97, 100.0)] == [
        "–",
        "0",
        "<0.1",
        "33.3",
        "99.9",
        "100",
    ]
    assert [figures.rate(value) for value in (None, 0.0, 0.01, 3.14, 1234.5)] == [
        "–",
        "0",
        "<0.1",
        "3.1",
        "1234",
    ]


# Keys


@pytest.fixture
def three(shop: Measured) -> Measured:
    """Three tools, of which no two columns agree on the order."""
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
            ("e", "last error▲", ["b_slow", "c_failing", "a_quick", "first"]),
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
        terminal.press("\x1b")  # alone: nothing follows it
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


def test_keys_may_come_in_parts() -> None:
    keys = Keys()
    assert keys.feed(b"a\x1b[") == ["a"]
    assert keys.is_waiting
    assert keys.feed(b"5~\xc3") == ["page up"]
    assert keys.feed(b"\xa9\x1b[1;5C\x1bOA") == ["é", "up"]  # one that is not known does nothing
    assert keys.feed(b"\x1b") == []
    assert keys.flush() == ["escape"]
    assert keys.feed(b"\x1b\x1b[B\x00\x9c") == ["escape", "down", "�"]


# Room


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
        terminal.shows(lambda text: "last error" in text and "search" in text)
        began = time.monotonic()
        terminal.resize(50, 12)
        screen = terminal.shows(lambda text: "search" in text and "p50" not in text)
        assert max(map(len, screen.splitlines())) <= 50
        assert "p95▼" in screen
        assert screen.splitlines()[-1].startswith("q quit")
        terminal.resize(140, 40)
        terminal.shows(lambda text: "p50" in text)
        assert time.monotonic() - began < 15
        for columns, lines in ((3, 1), (1, 3), (20, 2), (120, 30)):
            terminal.resize(columns, lines)
        terminal.shows(lambda text: "last error" in text)
        terminal.press("q")
        assert terminal.ends() == 0


def test_the_environments_idea_of_the_size_is_not_asked(shop: Measured) -> None:
    with top(shop.url, columns=140, env={"COLUMNS": "20", "LINES": "5"}) as terminal:
        terminal.shows(lambda text: "last error" in text)


def test_columns_go_by_rank_and_the_rest_share_the_room() -> None:
    requests = [
        ColumnRequest(40, 20, 0),
        ColumnRequest(7, 7, 2),
        ColumnRequest(7, 7, 1),
        ColumnRequest(20, 10, 3),
    ]
    assert lay_out(requests, 120).widths == (40, 7, 7, 20)
    assert lay_out(requests, 60).columns == (0, 1, 2, 3)
    assert sum(lay_out(requests, 60).widths) + 3 == 60
    assert lay_out(requests, 40).columns == (0, 1, 2)
    assert lay_out(requests, 10).columns == (0,)
    assert shortened("get_customer_by_id", 11) == "get_c…by_id"
    assert shortened("日本語日本語", 7) == "日…語"  # two cells each
    assert shortened("same", 4) == "same"


# Processes


def test_processes_are_discovered_and_said_to_be_gone(shop: Measured) -> None:
    with top(columns=140) as terminal:
        terminal.shows(lambda text: re.search(rf"1 process .*\n +shop +up .*pid {shop.pid}", text))
        assert "process" not in terminal.lines()[2]  # one needs no column
        with measured("billing", first="record('charge', True, 1.0)") as billing:
            screen = terminal.shows(lambda text: "2 processes" in text and "charge" in text)
            assert cells(screen, "charge")[-1] == "billing"
            assert cells(screen, "first")[-1] == "shop"
            terminal.press("/billing\r")  # a process is a name, too
            terminal.shows(lambda text: names(text) == ["charge"])
            terminal.press("\x1b")
        assert billing.process.returncode is not None
        gone = r"✕ billing +gone since \d\d:\d\d:\d\d \(\d+ s\)"
        screen = terminal.shows(lambda text: re.search(gone, text))
        assert "1 process, 1 not answering" in screen
        # Its last figures stay; what it does now is not known, and said to be of one that is gone.
        row = cells(screen, "charge")
        assert (row[1], row[6], row[-1]) == ("–", "–", "✕billing")
        assert cells(screen, "first")[6] == "0"


def test_two_of_one_name_are_told_apart(shop: Measured) -> None:
    with measured("shop") as other, top(columns=140) as terminal:
        for process in (shop, other):
            in_both = partial(_count, f"shop:{process.pid}", 2)
            terminal.shows(in_both)


def test_an_address_that_is_gone_and_back_is_said_to_be() -> None:
    port = free_port()
    with ExitStack() as stack:
        first = stack.enter_context(measured("shop", port))
        terminal = stack.enter_context(top(str(port), columns=140))
        first.do("[record('search', True, 1.0) for _ in range(50)]")
        terminal.shows(lambda text: cells(text, "search")[7:8] == ["50"])
        first.process.kill()
        gone = terminal.shows(lambda text: re.search(r"✕ shop +gone since ", text))
        assert cells(gone, "search")[7] == "50"
        stack.enter_context(measured("shop", port, first="record('search', True, 1.0)"))
        screen = terminal.shows(lambda text: cells(text, "search")[7:8] == ["1"])
        assert re.search(r"shop +began anew \d\d:\d\d:\d\d", screen)
        terminal.shows(lambda text: cells(text, "search")[1] == "0")
        assert not re.search(r"search +-\d", terminal.text())  # no rate is below 0


def test_exactly_the_given_addresses_are_watched(shop: Measured) -> None:
    with (
        measured("billing") as billing,
        measured("third"),
        top(shop.url, billing.url.removeprefix("http://"), shop.url, columns=140) as terminal,
    ):
        screen = terminal.shows(lambda text: "billing  " in text and "shop  " in text)
        assert "2 processes" in screen
        assert "third" not in screen


def test_nobody_yet_is_waited_for() -> None:
    with top(columns=100) as terminal:
        terminal.shows(lambda text: "No measured process of this user yet" in text)
        with measured("late"):
            terminal.shows(lambda text: "late  " in text and "first" in text)


def test_an_address_where_nobody_answers_says_why(shop: Measured) -> None:
    with top("127.0.0.1:1", shop.url, "http://[", columns=140) as terminal:
        screen = terminal.shows(
            lambda text: (
                re.search(r"\? 127.0.0.1:1 .*no answer yet: .*Connection refused", text)
                and "first" in text
            )
        )
        assert "1 process, 2 not answering" in screen


class Hanging:
    """A server that takes its time, and remembers how many were waiting at once."""

    def __init__(self, answer: Callable[[], bytes]) -> None:
        self.let_go = Event()
        self.asked = 0
        self.most = 0
        waiting = 0
        hanging = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nonlocal waiting
                hanging.asked += 1
                waiting += 1
                hanging.most = max(hanging.most, waiting)
                hanging.let_go.wait(60)
                waiting -= 1
                body = answer()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):  # nobody waits for it any more
                    self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with metertap.instrument(service_name="sleepy"):
        metertap.record_tool_call("nap", True, 1.0)
        found = Hanging(lambda: json.dumps(metertap.get_all_metrics()).encode())
        yield found
        found.let_go.set()
        found.server.shutdown()
        found.server.server_close()


def test_a_process_that_hangs_freezes_nothing(shop: Measured, hanging: Hanging) -> None:
    hanging.let_go.set()
    with top(hanging.url, shop.url, columns=140) as terminal:
        terminal.shows(lambda text: "nap" in text and "first" in text)
        hanging.let_go.clear()
        terminal.shows(lambda text: re.search(r"\? sleepy +no answer since .* \(\d+ s\)", text))
        shop.do("record('second', True, 1.0)")
        terminal.shows(lambda text: "second" in text, 3.0)
        assert hanging.most == 1
        terminal.press("n")
        terminal.shows(lambda text: "tool▲ 3" in text, 3.0)
        hanging.let_go.set()
        terminal.shows(lambda text: re.search(r"  sleepy +up ", text))
        hanging.let_go.clear()
        asked = hanging.asked
        wait_for(lambda: terminal._read(0.05) is None or hanging.asked > asked)
        terminal.press("q")
        began = time.monotonic()
        assert terminal.ends() == 0  # while it hangs
        assert time.monotonic() - began < 3


def test_names_cannot_act_on_the_terminal() -> None:
    first = f"[record({HOSTILE!r}, False, 1.0, {HOSTILE!r}) for _ in 'ab']"
    with measured(HOSTILE.replace("\n", "\t"), first=first) as shop:
        shop.do(f"metertap.cache_meter({HOSTILE!r}).hit()")
        with top(shop.url, columns=200) as terminal:
            screen = terminal.shows(partial(_count, ESCAPED, 3))
            assert ESCAPED.replace(r"\n", r"\t") in screen
            for act in (b"\x1b[2J", b"\x07", "\u202e".encode()):
                assert act not in terminal.written
            terminal.press("/[red]\r")
            terminal.shows(lambda text: "filter “[red]”" in text and "tool 1 " in text)


def _count(what: str, times: int, text: str) -> bool:
    return text.count(what) == times


# The end


def _live(shop: Measured, *arguments: str, **options: Any) -> Any:
    return top(shop.url, *arguments, **options)


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_q_and_ctrl_c_leave_the_terminal_as_it_was(key: str, shop: Measured) -> None:
    with _live(shop) as terminal:
        terminal.shows(lambda text: "first" in text)
        assert terminal.mode_now() != terminal.mode
        terminal.press(key)
        assert terminal.ends() == 0
        assert_restored(terminal)


def assert_restored(terminal: EmulatedTerminal) -> None:
    assert terminal.mode_now() == terminal.mode
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert 0 <= terminal.written.rfind(on) < terminal.written.rfind(off)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_it_ends_any_program(number: signal.Signals, shop: Measured) -> None:
    with _live(shop) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.process.send_signal(number)
        assert terminal.ends() == -number
        assert_restored(terminal)


def test_an_exception_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import sys\n"
        "from metertap.cli import main\n"
        "from metertap.cli.top import table_state\n"
        "def press(self, key): raise RuntimeError('of a test')\n"
        "table_state.View.press = press\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.press("x")
        assert terminal.ends() == 1
        assert_restored(terminal)
        left = terminal.written.rfind(b"\x1b[?1049l")
        told = re.sub(rb"\x1b\[[\d;]*m", b"", terminal.written[left:])
        assert b"RuntimeError: of a test" in told  # where it can be read


def test_a_screen_that_cannot_be_drawn_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import sys\n"
        "from rich.segment import Segment\n"
        "from metertap.cli import main\n"
        "from metertap.cli.top import screen\n"
        "class Broken:\n"
        "    def __rich_console__(self, console, options): yield Segment(None)\n"
        "screen.Screen.draw = lambda *_arguments: Broken()\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        assert terminal.ends() == 1
        assert_restored(terminal)
        assert "TypeError" in terminal.text()


def test_a_screen_that_cannot_be_written_leaves_the_terminal_as_it_was(shop: Measured) -> None:
    code = (
        "import io, sys\n"
        "from metertap.cli import main\n"
        "class Stubborn(io.TextIOWrapper):\n"
        "    def write(self, text):\n"
        "        if 'first' in text: raise UnicodeError('of a test')\n"
        "        return super().write(text)\n"
        "sys.stdout = Stubborn(sys.stdout.detach(), 'utf-8', line_buffering=True)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with emulated(sys.executable, "-c", code, "top", shop.url) as terminal:
        assert terminal.ends() == 1
        assert_restored(terminal)
        assert "UnicodeError" in terminal.text()


def test_it_can_be_suspended_and_continued(shop: Measured) -> None:
    command = f"{METERTAP} top {shop.url}\n"
    env = {"PS1": "ready> ", "HISTFILE": None}
    with emulated("bash", "--norc", "--noprofile", "-i", env=env) as terminal:
        terminal.shows(lambda text: "ready>" in text)
        terminal.press(command)
        terminal.shows(lambda text: "q quit" in text and "first" in text)
        terminal.press("\x1a")
        wait_for(lambda: terminal._read(0.05) is None or b"Stopped" in terminal.written)
        assert_restored_screen(terminal)
        written = len(terminal.written)
        terminal.press("fg\n")
        wait_for(
            lambda: terminal._read(0.05) is None or b"q\x1b" in terminal.written[written + 200 :]
        )
        written = len(terminal.written)
        terminal.press("q")
        wait_for(lambda: terminal._read(0.05) is None or b"ready> " in terminal.written[written:])
        terminal.press("echo status $?\n")
        terminal.shows(lambda text: "status 0" in text)
        terminal.press("exit\n")
        terminal.ends()


def assert_restored_screen(terminal: EmulatedTerminal) -> None:
    assert terminal.written.count(b"\x1b[?1049h") == terminal.written.count(b"\x1b[?1049l") == 1
    assert terminal.written.count(b"\x1b[?25l") == terminal.written.count(b"\x1b[?25h") == 1


def test_a_terminal_that_is_gone_ends_it(shop: Measured) -> None:
    with _live(shop) as terminal:
        terminal.shows(lambda text: "first" in text)
        terminal.hang_up()
        assert terminal.process.wait(20) == -signal.SIGHUP


# Terminals that can do less, and scripts


def test_no_colour_is_no_colour_and_no_sign_is_lost(shop: Measured) -> None:
    shop.do("[record('search', True, 1.0) for _ in range(3)]")
    with _live(shop, env={"NO_COLOR": "1"}, columns=140) as terminal:
        terminal.shows(lambda text: "search" in text)
        shop.do("record('search', False, 1.0, 'KeyError')")
        terminal.shows(lambda text: "✕" in (cells(text, "search") or [""] * 3)[2])
        assert not re.search(rb"\x1b\[[\d;]*3[0-8][;m]", terminal.written)
    with _live(shop, columns=140) as terminal:
        terminal.shows(lambda text: "search" in text)
        shop.do("record('search', False, 1.0, 'KeyError')")
        terminal.shows(lambda text: "✕" in (cells(text, "search") or [""] * 3)[2])
        assert re.search(rb"\x1b\[[\d;]*3[0-8][;m]", terminal.written)


def test_a_terminal_without_such_characters_gets_others(shop: Measured) -> None:
    with _live(shop, env={"PYTHONIOENCODING": "latin-1"}, columns=140) as terminal:
        screen = terminal.shows(lambda text: "first" in text and "p95v" in text)
        assert cells(screen, "first")[3:6] == ["-", "-", "-"]
        terminal.resize(30, 10)
        assert "?" not in terminal.shows(lambda text: "p95v" in text and "active" not in text)[:-30]


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": None}, {}])
def test_one_table_where_nothing_can_be_live(env: dict[str, str | None], shop: Measured) -> None:
    shop.do("[record('search', True, 1.0) for _ in range(3)]")
    if env:
        with _live(shop, env=env, columns=140) as terminal:
            assert terminal.ends() == 0
            out = terminal.text()
            assert b"\x1b[?1049h" not in terminal.written
    else:
        ended = run(METERTAP, "top", *FAST, shop.url)
        assert (ended.status, ended.stderr) == (0, b"")
        out = ended.stdout.decode()
        assert "\x1b" not in out
    assert re.search(rf"shop {re.escape(shop.url)} up \d+ s · 0 calls/s", out)
    assert cells(out, "search") == [
        "search",
        "0",
        "100",
        "1.00 ms",
        "≈1.00 ms",
        "≈1.00 ms",
        "0",
        "3",
        "–",
    ]


def test_once_in_a_terminal_is_one_table(shop: Measured) -> None:
    with _live(shop, "--once", columns=140) as terminal:
        assert terminal.ends() == 0
        assert cells(terminal.text(), "first")
        assert b"\x1b[?1049h" not in terminal.written


def test_without_rich_there_is_one_table_and_what_to_install(
    shop: Measured, tmp_path: Path
) -> None:
    python = environments.core(tmp_path / "core")
    with emulated(python, "-m", "metertap", "top", shop.url, columns=140) as terminal:
        assert terminal.ends() == 0
        assert "pip install 'metertap[cli]'" in terminal.text()
        assert cells(terminal.text(), "first")


def test_json_has_figures_that_are_not_rounded(
    shop: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.do("[record('search', True, 1.0 / n) for n in range(1, 8)]")
    assert main(["top", *FAST, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    document = shop.document()
    assert (found["service"], found["pid"], found["url"]) == ("shop", shop.pid, shop.url)
    tools = {tool["name"]: tool for tool in found["tools"]}
    assert tools["search"]["p95_latency_ms"] == document["tool_metrics"]["search"]["p95_latency_ms"]
    assert tools["search"]["calls_per_second"] == 0.0
    assert tools["first"]["p95_latency_ms"] is None


def test_once_nobody_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 1
    assert "no measured process" in capsys.readouterr().err
    assert main(["top", "127.0.0.1:1", "a b"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 2)
    assert "Connection refused" in err


def test_a_directory_that_is_none_is_said(shop: Measured) -> None:
    runtime = {"XDG_RUNTIME_DIR": str(Path(os.environ["XDG_RUNTIME_DIR"], "other"))}
    Path(runtime["XDG_RUNTIME_DIR"]).mkdir()
    Path(runtime["XDG_RUNTIME_DIR"], "metertap").write_text("a file")
    with top(columns=200, env=runtime) as terminal:
        terminal.shows(lambda text: "is not this user's directory" in text)
    ended = run(METERTAP, "top", env=runtime)
    assert (ended.status, ended.told.count("\n")) == (1, 1)
    with top(shop.url, columns=140, env=runtime) as terminal:  # an address needs none
        terminal.shows(lambda text: "first" in text)


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "x"])
def test_an_interval_that_is_none_is_a_wrong_command_line(interval: str) -> None:
    assert run(METERTAP, "top", f"--interval={interval}").status == 2


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
