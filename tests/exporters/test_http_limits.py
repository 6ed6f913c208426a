"""What an endpoint refuses and bounds: foreign hosts, slow clients, memory and descriptors."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from metertap_exporters.http import connections
from metertap_exporters.http.app import SECURITY_HEADERS, Response, json_response
from metertap_exporters.http.shared import SharedRoute
from support.http import get
from support.programs import run
from support.serving import connect, said, served
from support.waiting import wait_for

BIG = b"x" * 6_000_000


def fine(_environ: object) -> Response:
    return json_response(200, {"fine": True})


def big(_environ: object) -> Response:
    return Response(200, "text/plain", BIG)


def unshared(_environ: object) -> Response:
    return Response(200, "text/plain", b"y" * len(BIG))


def raises(_environ: object) -> Response:
    raise ValueError("secret")


@pytest.fixture
def url() -> Iterator[str]:
    with served(fine=fine, big=big, unshared=unshared, raises=raises) as url:
        yield url


@contextlib.contextmanager
def silent_readers(url: str, path: str, count: int) -> Iterator[list[socket.socket]]:
    """Clients that ask for a large answer and read nothing of it."""
    with contextlib.ExitStack() as clients:
        opened = []
        for _ in range(count):
            client = clients.enter_context(connect(url, receive_buffer=4096))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            opened.append(client)
        yield opened


@pytest.mark.parametrize("path", ["/big", "/unshared"])
def test_silent_readers_shut_nobody_out(url: str, path: str) -> None:
    with silent_readers(url, path, connections.LIMIT + 10):
        for _ in range(3):
            assert get(url + "/fine").status == 200


def test_a_reader_of_a_byte_at_a_time_gives_way_too(url: str) -> None:
    done = threading.Event()

    def trickle(clients: list[socket.socket]) -> None:
        while not done.wait(0.02):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.recv(1)

    with silent_readers(url, "/big", connections.LIMIT) as clients:
        thread = threading.Thread(target=trickle, args=(clients,))
        thread.start()
        try:
            assert get(url + "/fine").status == 200
        finally:
            done.set()
            thread.join()


def test_those_who_read_are_answered_whole_among_those_who_do_not(url: str) -> None:
    with silent_readers(url, "/big", connections.LIMIT), ThreadPoolExecutor(40) as pool:
        for answer in pool.map(get, [url + "/big"] * 40):
            assert (answer.status, len(answer.body)) == (200, len(BIG))


def test_those_who_wait_for_their_answer_are_never_ended() -> None:
    go_on = threading.Event()
    inside = []

    def slow(_environ: object) -> Response:
        inside.append(1)
        go_on.wait(120)
        return json_response(200, {})

    with served(slow=slow, fine=fine) as url, ThreadPoolExecutor(connections.LIMIT + 1) as pool:
        waiting = [pool.submit(get, url + "/slow") for _ in range(connections.LIMIT)]
        wait_for(lambda: len(inside) == connections.LIMIT)
        late = pool.submit(get, url + "/fine")  # waits for a place, and is not refused
        time.sleep(2 * connections.PATIENCE_SECONDS)
        go_on.set()
        assert late.result().status == 200
        assert [answer.result().status for answer in waiting] == [200] * connections.LIMIT


def test_a_client_is_slow_where_the_endpoint_has_nothing_to_read_or_room_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connections, "LIMIT", 3)
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        for one in itertools.chain(*pairs):
            stack.enter_context(one)
        (asks, asking), (silent, _), (reads, _), (new, _) = pairs
        known = connections.Connections()
        assert all(map(known.admit, (asks, silent, reads)))
        asking.sendall(b"GET / HTTP/1.1")  # not read yet
        known.writes(reads, BIG)  # and there is room for it
        admitted = threading.Thread(target=known.admit, args=(new,))
        admitted.start()
        silent.settimeout(60)
        assert silent.recv(1) == b""  # it is ended, and its thread closes it
        known.closed(silent)
        admitted.join()
        assert asks.recv(3) == b"GET"
        assert reads.send(b"x") == 1


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells")
def test_a_client_that_has_left_takes_no_place_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(connections, "LIMIT", 1)
    (silent, other), (left, leaving) = socket.socketpair(), socket.socketpair()
    with silent, other, left, leaving:
        leaving.sendall(b"GET / HTTP/1.1")
        leaving.close()
        known = connections.Connections()
        assert known.admit(silent)
        assert not known.admit(left)
        assert silent.send(b"x") == 1  # it was not ended to make room


def test_what_takes_long_to_make_is_the_fault_of_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.0)
    one, other = socket.socketpair()
    with one, other:
        known = connections.Connections()
        assert known.admit(one)
        known.asked(one)
        known.end_late()  # its answer is being made
        assert one.send(b"x") == 1
        known.writes(one, BIG)
        monkeypatch.setattr(connections, "SECONDS", 3600.0)
        known.end_late()  # and is written now
        assert one.send(b"x") == 1
        monkeypatch.setattr(connections, "SECONDS", 0.0)
        wait_for(lambda: known.end_late() or _is_ended(one))


def _is_ended(connection: socket.socket) -> bool:
    try:
        connection.send(b"x")
    except OSError:
        return True
    return False


def test_answers_of_kinds_that_clients_make_up_take_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = connections.PATIENCE_SECONDS
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 3600.0)
    made: list[object] = []

    def route(environ: Any) -> Response:
        made.append(environ["QUERY_STRING"])
        return Response(200, "text/plain", environ["QUERY_STRING"].encode() + BIG)

    shared = SharedRoute(route, lambda environ: environ["QUERY_STRING"])
    with served(shared=shared) as url, contextlib.ExitStack() as clients:
        for number in range(40):
            client = clients.enter_context(connect(url, receive_buffer=4096))
            client.sendall(f"GET /shared?{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        most = connections.BODY_BYTES // len(BIG) + 1  # then they take more than that
        wait_for(lambda: len(made) >= most)
        time.sleep(0.2)
        assert len(made) <= most + 1  # and one that was made meanwhile
        monkeypatch.setattr(connections, "PATIENCE_SECONDS", patience)
        wait_for(lambda: get(f"{url}/shared?mine").status == 200)  # others give way


@pytest.mark.parametrize("is_long", [False, True])
def test_requests_that_wait_for_long_answers_leave_connections_to_others(is_long: bool) -> None:
    go_on = threading.Event()

    def slow(_environ: object) -> Response:
        go_on.wait(120)
        return json_response(200, {})

    shared = SharedRoute(slow, lambda environ: environ["QUERY_STRING"], is_long=is_long)
    with served(slow=shared, fine=fine) as url, ThreadPoolExecutor(2 * connections.LIMIT) as pool:
        # A long answer takes connections even from those who all want the same one.
        queries = [f"?{0 if is_long else number}" for number in range(2 * connections.LIMIT)]
        asked = [pool.submit(get, f"{url}/slow{query}") for query in queries]
        assert get(url + "/fine").status == 200
        wait_for(lambda: sum(answer.done() for answer in asked) > connections.LIMIT)
        assert {answer.result().status for answer in asked if answer.done()} == {503}
        go_on.set()
        assert {answer.result().status for answer in asked} == {200, 503}
    assert shared({"QUERY_STRING": ""}).status == 200


LINE = b"X-Long: " + b"x" * 60_000 + b"\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n" + LINE, 200),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n" + LINE * 2, 431),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000, 431),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n" + b"a:b\r\n" * 101, 431),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n" + b"a:b\r\n" * 90, 200),
    ],
)
def test_the_headers_of_a_request_take_bounded_memory(url: str, head: bytes, status: int) -> None:
    assert said(url, head + b"\r\n").split()[1] == str(status).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /fine?" + b"name[]=a&" * 1000, 414),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n" + b"a:\n" * 100, 431),
    ],
)
def test_what_takes_long_to_read_is_refused_before_it_is_whole(
    url: str, sent: bytes, status: int
) -> None:
    # Many such requests at once would hold up each call of the program for seconds.
    assert said(url, sent).split()[1:2] == [str(status).encode()]


PROGRAM = """
import resource, socket, sys, time
from metertap_exporters.http.app import App, json_response
from metertap_exporters.http.endpoint import Endpoint
endpoint = Endpoint("test", App({"/": lambda _: json_response(200, 1)}), "127.0.0.1", 0, True, "")
endpoint.start()
port = int(endpoint.wait(60).rpartition(":")[2])
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
taken = []
try:
    while True:
        taken.append(open("/dev/null"))
except OSError:
    pass
taken.pop().close()
waits = socket.socket()
waits.setblocking(False)
waits.connect_ex(("127.0.0.1", port))  # in the backlog: there is no descriptor to accept it with
before = time.process_time()
time.sleep(1.5)
spent = time.process_time() - before
for file in taken: file.close()
waits.settimeout(60)
waits.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
print(spent < 0.5, waits.recv(100).split()[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of descriptors")
def test_where_descriptors_are_exhausted_it_waits_and_then_serves() -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n{PROGRAM}"
    program = run(sys.executable, "-c", limited)
    assert (program.stdout, program.status) == (b"True b'200'\n", 0), program.told


# Host

VALID = (
    "localhost",
    "LocalHost:9109",
    "127.0.0.1:1",
    "[::1]",
    "[::1]:80",
    "localhost:",
    " localhost ",
)
FOREIGN = (
    "example.org",
    "example.org:9109",
    "localhost.",
    "0x7f.1",
    "127.1",
    "2130706433",
    "[::2]",
)
INVALID = (
    "",
    "user@localhost",
    "localhost@example.org",
    "localhost:80@example.org",
    "user:password@127.0.0.1",
    "localhost:80evil",
    "localhost:80:90",
    "localhost:-1",
    "localhost:123456",
    "localhost evil",
    "localhost/",
    "localhost#",
    "localhost?x",
    "localhost\\example.org",
    "[::1]example.org",
    "[::1].example.org",
    "[::1]:80x",
    "[::1",
    "::1",
    "[localhost]",
    "[127.0.0.1]x",
    "localhost,example.org",
    "localhost, localhost",
    "http://localhost",
    "lo\xe7alhost",
    "localhost\x00",
)


@pytest.mark.parametrize(
    ("hosts", "status"), [(VALID, 200), (FOREIGN, 403), (INVALID, 400)], ids=("ok", "403", "400")
)
def test_a_host_is_a_name_and_a_port_and_nothing_else(
    url: str, hosts: tuple[str, ...], status: int
) -> None:
    for host in hosts:
        request = f"GET /fine HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
        assert said(url, request).split()[1] == str(status).encode(), host


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"GET /fine HTTP/1.1\r\n\r\n", 400),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\nhost: example.org\r\n\r\n", 400),
        (b"GET /fine HTTP/1.1\r\nHost: localhost\r\n example.org\r\n\r\n", 400),
        (b"GET /fine HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /fine HTTP/1.0\r\n\r\n", 200),
        (b"GET /fine HTTP/1.0\r\nHost: example.org\r\n\r\n", 403),
    ],
)
def test_a_request_has_one_host(url: str, headers: bytes, status: int) -> None:
    assert said(url, headers).split()[1] == str(status).encode()


# Headers


@pytest.mark.faults
@pytest.mark.parametrize(
    "request_",
    [
        "GET /fine",
        "HEAD /fine",
        "GET /nowhere",
        "POST /fine",
        "GET /raises",
        "GET /fine HTTP/1.1\r\nHost: example.org",
        "GET /fine HTTP/1.1\r\nHost: @",
        "nonsense",
        "GET /" + "x" * 70_000,
        "BREW /fine",
    ],
)
def test_every_answer_forbids_to_be_shown_elsewhere(url: str, request_: str) -> None:
    if " HTTP/" not in request_ and request_ != "nonsense":
        request_ += " HTTP/1.1\r\nHost: localhost"
    head = said(url, f"{request_}\r\n\r\n".encode()).partition(b"\r\n\r\n")[0].decode()
    lines = head.split("\r\n")[1:]
    names = [line.partition(":")[0] for line in lines]
    assert len(names) == len(set(names))
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Server"] == "metertap"
    assert SECURITY_HEADERS.items() <= headers.items()
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
