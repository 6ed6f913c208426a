"""Commands where a stranger's program answers: one line, no second address, and an end."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Barrier, Event
from typing import Any, get_type_hints

import pytest

import metertap
from metertap import catalogue, state
from metertap.cli import client, main, report_tables, snapshot
from metertap.cli.client import Unreachable, get
from metertap.cli.processes import Process, asked
from metertap.cli.reports import Report
from metertap.cli.top import once
from metertap.cli.top.poller import Poller, Watched
from metertap.cli.top.readings import Readings
from metertap.cli.typed_json import Malformed, read
from metertap.runtime import running
from metertap.tables.document import Alert, Cache, Document, Latencies, Operation, Session, Tool
from metertap.tables.table import Table, plain
from metertap_exporters.json.reader import schema
from support.dripping import DRIPPING, HEAD, answering, dripping

COMMANDS = (["snapshot"], ["doctor"], ["top", "--once", "--interval", "0.1"])
LIMIT_SECONDS = 0.5


def written(body: bytes) -> Callable[[Any], None]:
    return lambda handler: handler.wfile.write(HEAD + body)


def shows_one_line(command: list[str], address: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one line on stderr; return the line."""
    assert main([*command, address]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"metertap {command[0]}: http://{address}/")
    assert err.rstrip("\n").isprintable()
    assert len(err) < 400
    return err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_redirect_is_followed(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    asked = []
    with answering(lambda handler: asked.append(handler.client_address)) as other:
        to = f"HTTP/1.1 302 Found\r\nLocation: http://{other}/metrics\r\n\r\n".encode()
        with answering(lambda handler: handler.wfile.write(to)) as address:
            assert "302 Found" in shows_one_line(command, address, capsys)
    assert asked == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_answer_without_end_is_given_up(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 2**20)
    sent = []

    def endless(handler: Any) -> None:
        handler.wfile.write(HEAD)
        while True:
            handler.wfile.write(b" " * 2**16)
            sent.append(2**16)

    with answering(endless) as address:
        assert "longer than 1 MB" in shows_one_line(command, address, capsys)
    assert sum(sent) < 50 * 2**20  # beyond the limit, only what sockets buffer was sent


@pytest.mark.parametrize("part", DRIPPING)
def test_an_answer_that_comes_byte_by_byte_is_given_up(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", LIMIT_SECONDS)
    with dripping(part, LIMIT_SECONDS / 10) as address:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no whole answer within"):
            get(f"http://{address}/metrics")
        assert time.monotonic() - began < 20 * LIMIT_SECONDS


def test_a_handshake_that_comes_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", LIMIT_SECONDS)
    over = Event()

    def drip(handler: Any) -> None:
        handler.wfile.write(b"\x16\x03\x03\x40\x00")  # a record of 16 kB follows
        while not over.wait(LIMIT_SECONDS / 10):
            handler.wfile.write(b"\x00")

    with answering(drip) as address:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            get(f"https://{address}/metrics")
        assert time.monotonic() - began < 20 * LIMIT_SECONDS
        over.set()


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse where a queue is full")
@pytest.mark.parametrize("is_last_there", [False, True])
def test_a_host_with_many_addresses_takes_as_long_as_one_with_one(
    is_last_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", 2.0)
    with contextlib.ExitStack() as opened:
        full = opened.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # its queue is full then: it answers nobody, and refuses nobody
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        there = opened.enter_context(answering(written(b"{}")))
        host, _, port = there.rpartition(":")
        places = [full.getsockname()] * (2 if is_last_there else 100)
        places += [(host, int(port))] * is_last_there
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_place, **_more: found)
        began = time.monotonic()
        if is_last_there:
            assert get("http://many.example/metrics") == b"{}"
        else:
            with pytest.raises(Unreachable, match="no whole answer within"):
                get("http://many.example/metrics")
        assert time.monotonic() - began < 30.0


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """A real document with every kind of figure."""
    with metertap.instrument(json_endpoint=False, service_name="shop"):
        meter = metertap.cache_meter("prompts")
        metertap.tool(name="search")(meter.hit)()
        metertap.record_tool_call("search", False, 5.0, "KeyError")
        attributes = {catalogue.MCP_METHOD: "tools/call", catalogue.TOOL_NAME: "search"}
        for metric in (catalogue.SERVER_DURATION, catalogue.SERVER_SESSION):
            state.recorder().record_operation(metric.name, metric, attributes, 1.0)
        found: dict[str, Any] = json.loads(json.dumps(metertap.get_all_metrics()))
    metertap.reset()
    assert found["operations"]
    assert found["sessions"]
    return found


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A real report with every kind of line."""
    with metertap.instrument(json_endpoint=False, alert_webhook_url="http://127.0.0.1:1/") as tap:
        metertap.cache_meter("prompts").hit()
        found: dict[str, Any] = json.loads(json.dumps(tap.diagnosis()))
    metertap.reset()
    return found


def test_documents_of_ours_pass(document: dict[str, Any], report: dict[str, Any]) -> None:
    assert read(json.dumps(document).encode(), Document) == document
    assert read(json.dumps(report).encode(), Report) == report


def test_what_is_read_of_a_document_is_what_its_schema_describes() -> None:
    described = schema()
    kinds = {"tool": Tool, "cache": Cache, "operation": Operation, "session": Session}
    kinds |= {"alert": Alert, "latencies": Latencies}
    for name, kind in (("", Document), *kinds.items()):
        part = described["$defs"][name] if name else described
        assert get_type_hints(kind).keys() <= part["properties"].keys()
        assert kind.__required_keys__ <= set(part["required"])


WRONG = (
    *(b"", b"{", b"\xff", b"[]", b"null", b"1", b'{"tool_metrics": NaN}', b"[" * 200_000),
    *(b'{"tool_metrics": {"a": {}}, "instrumentations": []}', b'{"tool_metrics": [1]}'),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_what_is_no_document_is_one_line(
    command: list[str], body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(written(body)) as address:
        shows_one_line(command, address, capsys)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in a document; of a list, the first item's."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


ODD = (None, True, -1, 2**53 + 1, 1e308, float("inf"), "x\x1b[2J", [], [1], {}, {"\n": 1})


def with_value(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> bytes:
    changed = json.loads(json.dumps(document))
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(changed).encode()


def tables_of_snapshot(document: Document) -> Iterable[Table]:
    return snapshot.tables(document)


def watched_twice(document: Document) -> Watched:
    """Return a process after two looks, the second after a second."""
    later = copy.deepcopy(document)
    later["system_metrics"]["uptime_seconds"] += 1
    readings = Readings()
    readings.of(document)
    watched = Watched(Process("http://127.0.0.1:1", "shop"), time.time(), answered=time.time())
    watched.reading = readings.of(later)
    watched.history.add(watched.reading)
    return watched


def tables_of_top(document: Document) -> Iterable[Table]:
    return once._tables([watched_twice(document)])


def screens_of_top(document: Document) -> Iterable[Table]:
    """Return the screen on which a row of each table is unfolded."""
    console = pytest.importorskip("rich.console", reason="the live view needs rich").Console
    from metertap.cli.top.screen import Screen
    from metertap.cli.top.table_state import View

    poller, view = Poller((), 1.0), View()
    poller._found = {("", None): watched_twice(document)}
    screen = Screen(poller, view)
    for keys in (("enter",), ("tab", "enter"), ("tab", "enter")):
        screen.draw(140, 40, time.time())
        for key in keys:
            view.press(key)
    file = io.StringIO()
    console(file=file, width=140).print(screen.draw(140, 40, time.time()))
    yield Table("", ("",), [[line] for line in file.getvalue().splitlines()])


def tables_of_doctor(report: Report) -> Iterable[Table]:
    return report_tables.tables("shop", report, report_tables.problems(report), True)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (Document, tables_of_snapshot),
        (Document, tables_of_top),
        (Report, tables_of_doctor),
        (Document, screens_of_top),
    ],
    ids=["snapshot", "top --once", "doctor", "top"],
)
def test_whatever_stands_in_a_place_is_refused_or_can_be_shown(
    kind: Any, shown: Callable[[Any], Iterable[Table]], document: Any, report: Any
) -> None:
    real = document if kind is Document else report
    bodies = [with_value(real, path, value) for path in places(real) for value in ODD]
    assert len(bodies) > 500
    refused = 0
    for body in bodies:
        try:
            checked = read(body, kind)
        except Malformed:
            refused += 1
            continue
        for table in shown(checked):
            assert "\x1b" not in plain(table, 100)
    assert len(bodies) / 3 < refused < len(bodies)


def test_names_of_any_length_fill_neither_the_memory_nor_the_terminal(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tool = document["tool_metrics"]["search"]
    long = {"a" * 4_000_000: tool, "\x07" * 1_000_000: tool}
    many = {f"tool {number}": tool for number in range(1000)}
    changed = {**document, "tool_metrics": {**long, **many}}
    with answering(written(json.dumps(changed).encode())) as address:
        for command in (["snapshot"], COMMANDS[2]):
            assert main([*command, address]) == 0
            out = capsys.readouterr().out
            assert "tool 999" in out
            assert len(out) < 10_000_000


def test_a_registered_address_is_asked_by_who_registered_it(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    document["service"]["instance_id"] = "another"
    with answering(written(json.dumps(document).encode())) as address:
        running.register("shop", f"http://{address}", None, instance_id="one")
        for command in ("snapshot", "top"):
            assert main([command, *COMMANDS[2][1:]] if command == "top" else [command]) == 1
            out, err = capsys.readouterr()
            assert (out, err.count("\n")) == ("", 1)
            assert "another program answers there" in err
        running.register("shop", f"http://{address}", None, instance_id="another")
        assert main(["snapshot"]) == 0
        running.register("other", f"http://{address}", None)  # of an older metertap
        assert main(["snapshot"]) == 1
        running.unregister()


def test_nothing_that_a_process_calls_itself_acts_on_the_terminal_of_the_live_view() -> None:
    pytest.importorskip("rich", reason="the live view needs rich")
    from rich.console import Console

    from metertap.cli.top.screen import Screen
    from metertap.cli.top.table_state import View

    hostile = "x\x1b]0;FORGED\x07\x1b[2J\x9b2J\r\nFORGED"
    with metertap.instrument(json_endpoint=False):
        metertap.record_tool_call(hostile, False, 1.0, hostile)
        metertap.cache_meter(hostile).hit()
        document: Any = metertap.get_all_metrics()
    document["service"] = dict.fromkeys(("name", "version"), hostile)
    alert = {"severity": hostile, "state": "firing", "since": 0.0, "summary": hostile}
    document["alerts"] = [alert, {**alert, "state": "pending"}]
    poller = Poller([], 1.0)
    watched = Watched(Process(f"http://{hostile}", hostile, 1), 0.0)
    watched.reading = Readings().of(document)
    poller._found["", 1] = watched
    shown = io.StringIO()
    console = Console(file=shown, width=200, color_system=None)
    console.print(Screen(poller, View()).draw(200, 40, 1.0))
    assert "FORGED" in shown.getvalue()
    assert [line for line in shown.getvalue().split("\n") if not line.isprintable()] == []


def test_a_process_that_hangs_delays_the_answers_of_no_other() -> None:
    both = Barrier(2)

    def ask(process: Process) -> Any:
        both.wait(30)  # raises where one is asked after the other
        if process.name == "hangs":
            raise Unreachable(process.url, "no whole answer")
        return process.name

    found = [Process("http://127.0.0.1:1", name) for name in ("hangs", "answers")]
    (_, nothing), (_, answer) = asked(found, ask)
    assert isinstance(nothing, Unreachable)
    assert answer == "answers"
