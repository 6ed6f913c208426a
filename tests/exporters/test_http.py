"""The HTTP server under both endpoints: what it answers, whom it refuses, what it never does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from metertap_exporters.http import connections
from metertap_exporters.http import server as serving
from metertap_exporters.http.app import App, Response, Route, json_response
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.hosts import HostCheck
from metertap_exporters.http.shared import SharedRoute
from support.http import get
from support.serving import connect, read, served
from support.waiting import wait_for

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves routes on a free port of loopback; returns the URL."""
    with ExitStack() as endpoints:
        yield lambda **routes: endpoints.enter_context(served(**routes))


def fine(_environ: object) -> Response:
    return json_response(200, {"fine": True})


def raises(_environ: object) -> Response:
    raise ValueError("secret")


def test_the_head_of_an_answer_is_sent_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    write = serving._Paced.write

    def noted(self: serving._Paced, part: bytes) -> int:
        sent.append(bytes(part))
        return write(self, part)

    monkeypatch.setattr(serving._Paced, "write", noted)
    assert get(serve(fine=fine) + "/fine").json() == {"fine": True}
    assert len(sent) == 2
    assert sent[0].startswith(b"HTTP/1.")
    assert sent[0].endswith(b"\r\n\r\n")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/fine", 200),
        ("GET", "/fine?query=1", 200),
        ("GET", "/", 404),
        ("GET", "/fine/", 404),
        ("GET", "/%00..", 404),
        ("POST", "/nowhere", 404),
        ("POST", "/fine", 405),
        ("DELETE", "/fine", 405),
        ("OPTIONS", "/fine", 405),
        ("GET", "/raises", 500),
    ],
)
def test_every_answer_is_json(serve: Serve, method: str, path: str, status: int) -> None:
    answer = get(serve(fine=fine, raises=raises) + path, method=method)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    if status == 200:
        assert answer.json() == {"fine": True}
    else:
        assert answer.json()["error"]["status"] == status
        assert "secret" not in answer.body.decode()


def test_a_405_says_what_is_allowed(serve: Serve) -> None:
    answer = get(serve(fine=fine) + "/fine", method="POST")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/fine", "/nowhere"])
def test_head_is_the_answer_to_get_without_its_body(serve: Serve, path: str) -> None:
    url = serve(fine=fine) + path
    asked, head = get(url), get(url, method="HEAD")
    assert head.status == asked.status
    assert head.body == b""
    assert head.headers["Content-Length"] == str(len(asked.body))


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"nonsense\r\n\r\n", 400), (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414)],
)
def test_what_is_no_request_is_told_so_in_json(serve: Serve, sent: bytes, status: int) -> None:
    with connect(serve(fine=fine)) as client:
        client.sendall(sent)
        answer = read(client)
    assert f"HTTP/1.0 {status} ".encode() in answer
    assert b'{"error":{"status":%d' % status in answer


LOOPBACK = (
    "localhost",
    "LOCALHOST:9109",
    "127.0.0.1",
    "127.0.0.1:9109",
    "127.1.2.3",
    "[::1]",
    "[::1]:9109",
)
FOREIGN = (
    "",
    "example.org",
    "example.org:9109",
    "localhost.example.org",
    "127.0.0.1.example.org",
    "10.0.0.1:9109",
    "[::2]:9109",
    "localhost:80:90",
    "localhost, example.org",
)
METRICS = frozenset({"metrics.example.org"})


@pytest.mark.parametrize(
    ("bound", "allowed", "accepted", "refused"),
    [
        ("127.0.0.1", frozenset(), (*LOOPBACK, None), FOREIGN),
        ("::1", frozenset(), LOOPBACK, FOREIGN),
        ("[::1]", frozenset(), LOOPBACK, FOREIGN),
        ("localhost", frozenset(), LOOPBACK, FOREIGN),
        # The allow list is for binds elsewhere: on loopback only this machine is served.
        ("127.0.0.1", METRICS, LOOPBACK, (*FOREIGN, "metrics.example.org")),
        (
            "0.0.0.0",
            METRICS,
            (*LOOPBACK, "metrics.example.org", "METRICS.example.org:9109"),
            (*FOREIGN, None),
        ),
        ("10.0.0.1", frozenset(), (*LOOPBACK, "10.0.0.1:9109"), ("10.0.0.2", "example.org", None)),
        ("::", frozenset({"*"}), (*LOOPBACK, "example.org", "[::2]:9109"), (None,)),
    ],
)
def test_hosts_that_are_served(
    bound: str,
    allowed: frozenset[str],
    accepted: tuple[str | None, ...],
    refused: tuple[str | None, ...],
) -> None:
    check = HostCheck(App({}), bound, allowed)
    assert [host for host in accepted if not check.accepts(host)] == []
    assert [host for host in refused if check.accepts(host)] == []


def test_a_page_that_rebinds_its_name_to_loopback_is_refused(serve: Serve) -> None:
    answer = get(serve(fine=fine) + "/fine", headers={"Host": "evil.example.org:9109"})
    assert answer.status == 403
    assert answer.json()["error"]["message"] == "Host 'evil.example.org:9109' is not served here"


def test_forty_requests_at_once_are_answered(serve: Serve) -> None:
    everybody = threading.Barrier(40, timeout=120)

    def together(_environ: object) -> Response:
        everybody.wait()  # passes when all forty are being answered
        return json_response(200, {})

    url = serve(together=together) + "/together"
    with ThreadPoolExecutor(40) as pool:
        assert [answer.status for answer in pool.map(get, [url] * 40)] == [200] * 40


class Slow:
    """A route that says which of its answers it is, and makes each when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.inside = 0
        self.at_once = 0
        self.go_on = threading.Event()

    def __call__(self, _environ: object) -> Response:
        self.begun += 1
        number = self.begun
        self.inside += 1
        self.at_once = max(self.at_once, self.inside)
        self.go_on.wait(120)
        self.inside -= 1
        return json_response(200, number)


def test_those_who_ask_meanwhile_share_the_next_answer() -> None:
    slow = Slow()
    route = SharedRoute(slow, lambda environ: environ.get("wanted"))
    with ThreadPoolExecutor(40) as pool:
        first = pool.submit(route, {})
        wait_for(lambda: slow.begun == 1)
        others = [pool.submit(route, {}) for _ in range(30)]
        apart = pool.submit(route, {"wanted": "another"})
        wait_for(lambda: sum(route._waiting.values()) == 32)
        slow.go_on.set()
        assert first.result().body == b"1"
        # Never the first: it was begun before they asked, and may lack what they came to see.
        assert len({answer.result().body for answer in others} | {apart.result().body}) == 2
        assert {answer.result().body for answer in others} != {apart.result().body}
    assert (slow.begun, slow.at_once) == (3, 1)
    assert route({}).body == b"4"
    assert (route._made, route._waiting) == ({}, {})


def test_an_answer_that_could_not_be_made_is_tried_again() -> None:
    answers: list[Route] = [raises, fine]
    route = SharedRoute(lambda environ: answers.pop(0)(environ), lambda _environ: None)
    with pytest.raises(ValueError, match="secret"):
        route({})
    assert route({}).status == 200


def test_clients_that_say_nothing_block_nobody(serve: Serve) -> None:
    url = serve(fine=fine)
    with ExitStack() as clients:
        for _ in range(2 * connections.LIMIT):
            clients.enter_context(connect(url))
        assert get(url + "/fine").status == 200


def test_a_client_that_says_nothing_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 0.1)
    with connect(serve(fine=fine)) as client:
        assert read(client) == b""


def test_a_client_that_sends_a_byte_at_a_time_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    with connect(serve(fine=fine)) as client:
        client.settimeout(0.02)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                client.send(b"G")
                if client.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("still connected")


def test_a_client_that_does_not_read_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 0.1)
    body = b"x" * 50_000_000
    with connect(serve(big=lambda _environ: Response(200, "text/plain", body))) as client:
        client.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        assert client.recv(1)
        wait_for(lambda: threads("metertap-request") == 0)
        assert len(read(client)) < len(body)


def test_requests_leave_nothing_on_stdout_and_stderr(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    url = serve(fine=fine)
    for path in ("/fine", "/nowhere"):
        get(url + path)
    with connect(url) as client:
        client.sendall(b"nonsense\r\n\r\n")
        read(client)
    with connect(url) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(b"GET /fine HTTP/1.0\r\n\r\n")  # and resets the connection
    get(url + "/fine")
    wait_for(lambda: threads("metertap-request") == 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.faults
def test_a_view_that_raises_is_one_warning(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    url = serve(raises=raises) + "/raises"
    for _ in range(3):
        get(url)
    assert [record.getMessage() for record in caplog.records] == [
        "metertap: endpoint /raises: ValueError: secret (counted in metertap.errors, told once)"
    ]


def test_an_endpoint_that_stopped_lets_go_and_can_start_again(serve: Serve) -> None:
    endpoint = Endpoint("test", App({"/fine": fine}), "127.0.0.1", 0, True, "PORT")
    endpoint.start()
    first = endpoint.wait(60)
    assert first is not None
    endpoint.stop()
    assert endpoint.url is None
    with pytest.raises(OSError, match="refused"):
        connect(first)
    endpoint.start()
    second = endpoint.wait(60)
    assert second is not None
    assert get(second + "/fine").status == 200
    endpoint.stop()


def test_an_endpoint_that_is_stopped_while_it_binds_leaves_no_listener() -> None:
    endpoint = Endpoint("restless", App({}), "127.0.0.1", 0, True, "PORT")
    for _ in range(30):
        endpoint.start()
        endpoint.stop()
    wait_for(lambda: threads("metertap-restless") == 0)


def threads(name: str) -> int:
    return sum(name in thread.name for thread in threading.enumerate())
