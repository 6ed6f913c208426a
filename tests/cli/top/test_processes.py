"""Processes that come, go, hang and come back while they are watched."""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

import metertap
from metertap.cli.client import Unreachable, get
from metertap.cli.processes import Process
from metertap.cli.top.columns import condition
from metertap.cli.top.poller import Watched
from support.emulated_terminal import EmulatedTerminal
from support.ports import free_port
from support.waiting import wait_for
from support.watched import Measured, cells, measured, names, top

pytestmark = pytest.mark.programs


def test_processes_are_discovered_and_said_to_be_gone(shop: Measured) -> None:
    with top(columns=140) as terminal:
        terminal.shows(lambda text: re.search(rf"1 process .*\n +shop +up .*pid {shop.pid}", text))
        assert "process" not in terminal.lines()[2]  # one process needs no column
        with measured("billing", first="record('charge', True, 1.0)") as billing:
            screen = terminal.shows(lambda text: "2 processes" in text and "charge" in text)
            assert cells(screen, "charge")[-1] == "billing"
            assert cells(screen, "first")[-1] == "shop"
            terminal.press("/billing\r")  # the filter looks at processes' names, too
            terminal.shows(lambda text: names(text) == ["charge"])
            terminal.press("\x1b")
        assert billing.process.returncode is not None
        gone = r"✕ billing +gone since \d\d:\d\d:\d\d \(\d+ s\)"
        screen = terminal.shows(lambda text: re.search(gone, text))
        assert "1 process, 1 not answering" in screen
        # The last figures stay, and are marked as those of a process that is gone.
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


def test_a_name_that_cannot_be_found_for_a_moment_is_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a laptop has lost its network."""

    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable) as raised:
        get("http://shop:9109")
    process = Process("http://shop:9109", "shop")
    watched = Watched(process, 0.0, answered=1.0, problem=raised.value)
    assert condition(watched, 5.0)[2].startswith("no answer since ")


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
    """Server that answers when it is let go, and remembers how many clients waited at once."""

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
                while not (hanging.let_go.wait(0.02) or self.is_given_up()):
                    pass
                waiting -= 1
                body = answer()
                with suppress(OSError):  # the client may have given up
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def is_given_up(self) -> bool:
                ready, _, _ = select.select([self.connection], [], [], 0)
                return bool(ready)  # after a request a client sends nothing, so this is its end

            def log_message(self, *_arguments: Any) -> None:
                """Print nothing."""

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
        assert any(_is_alive_while_it_hangs(terminal, shop, hanging, number) for number in range(5))
        assert hanging.most == 1
        hanging.let_go.set()
        terminal.shows(lambda text: re.search(r"  sleepy +up ", text))
        hanging.let_go.clear()
        asked = hanging.asked
        wait_for(lambda: terminal._read(0.05) is None or hanging.asked > asked)
        terminal.press("q")
        assert terminal.ends() == 0  # although a request hangs


def _is_alive_while_it_hangs(
    terminal: EmulatedTerminal, shop: Measured, hanging: Hanging, number: int
) -> bool:
    """Return whether figures and keys were shown within one request that hung."""
    asked = hanging.asked
    shop.do(f"record('tool_{number}', True, 1.0)")
    terminal.shows(lambda text: f"tool_{number}" in text)
    terminal.press("nc"[number % 2])
    terminal.shows(lambda text: ("tool▲", "calls/s▼")[number % 2] in text)
    return hanging.asked == asked


def _count(what: str, times: int, text: str) -> bool:
    return text.count(what) == times
