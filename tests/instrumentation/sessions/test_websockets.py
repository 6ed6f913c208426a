"""Open connections of real WebSocket servers are the active sessions."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

pytest.importorskip("websockets.sync.server")

import websockets.server
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

import metertap
from metertap import Tap, faults
from metertap_instrumentation.sessions.websockets import INSTRUMENTATION
from servers.websocket_servers import KINDS, PATH_REFUSED, VERSION, Serve, client, vanish
from support.metric_data import points
from support.waiting import wait_for

pytestmark = [pytest.mark.mcp, pytest.mark.library("websockets")]

each_kind = pytest.mark.parametrize("serve", [pytest.param(KINDS[name], id=name) for name in KINDS])


@pytest.fixture(autouse=True)
def _no_fault_of_ours() -> Iterator[None]:
    yield
    assert faults.fault_counts() == {}


def active(tap: Tap) -> int:
    sessions: int = tap.snapshot()["system_metrics"]["active_sessions"]
    return sessions


def become(tap: Tap, number: int) -> None:
    """Wait for a server that is told of a beginning or an end later than its client is."""
    wait_for(lambda: active(tap) == number)


def answers(connection: Any) -> bool:
    connection.send("hello")
    return bool(connection.recv() == "hello")


@each_kind
def test_a_connection_counts_from_its_handshake_to_its_end(
    serve: Callable[[], Serve], tap: Tap, reader: InMemoryMetricReader
) -> None:
    with serve() as url:
        assert active(tap) == 0
        first = client(url)
        become(tap, 1)
        second, third = client(url), client(url)
        become(tap, 3)
        for connection in (first, second, third):
            assert answers(connection)
        assert active(tap) == 3
        [point] = points(reader, "metertap.session.active")
        assert point.value == 3
        second.close()
        become(tap, 2)
        first.close()
        third.close()
        become(tap, 0)
        [point] = points(reader, "metertap.session.active")
        assert point.value == 0


@each_kind
@pytest.mark.parametrize("message", ["raise", "leave"])
def test_it_ends_with_its_handler(serve: Callable[[], Serve], message: str, tap: Tap) -> None:
    with serve() as url, client(url) as other, client(url) as connection:
        become(tap, 2)
        connection.send(message)
        with pytest.raises(ConnectionClosed):
            connection.recv()
        become(tap, 1)
        assert answers(other)
        assert active(tap) == 1


@each_kind
def test_it_ends_when_the_client_vanishes(serve: Callable[[], Serve], tap: Tap) -> None:
    with serve() as url:
        connection = client(url)
        become(tap, 1)
        vanish(connection)
        become(tap, 0)


@each_kind
def test_it_ends_with_its_server(serve: Callable[[], Serve], tap: Tap) -> None:
    if serve is KINDS["threads"] and VERSION < (17,):
        pytest.skip("its shutdown leaves connections open")
    with contextlib.ExitStack() as clients:
        with serve() as url:
            for _ in range(3):
                clients.enter_context(client(url))
            become(tap, 3)
        become(tap, 0)


@pytest.mark.parametrize("name", [name for name in ("asyncio", "legacy") if name in KINDS])
def test_a_cancelled_handler_does_not_keep_it_open(name: str, tap: Tap) -> None:
    with KINDS[name]() as url:
        connection = client(url)
        become(tap, 1)
        connection.send("cancel")
        with contextlib.suppress(ConnectionClosed):
            connection.close()
        become(tap, 0)


@pytest.mark.parametrize("module", ["websockets.asyncio.client", "websockets.legacy.client"])
def test_clients_are_no_sessions(module: str, tap: Tap) -> None:
    connect: Any = pytest.importorskip(module).connect

    async def talk(url: str) -> None:
        async with connect(url) as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
            assert active(tap) == 1  # the server's

    with KINDS["threads"]() as url:
        asyncio.run(talk(url))
        become(tap, 0)


@each_kind
def test_what_the_server_refuses_is_no_session(serve: Callable[[], Serve], tap: Tap) -> None:
    with serve() as url:
        with pytest.raises(WebSocketException):
            client(url + PATH_REFUSED)
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            while plain.recv(1000):
                pass
        assert active(tap) == 0
        with client(url):
            become(tap, 1)
        become(tap, 0)


@each_kind
def test_many_that_come_and_go_at_once_leave_nothing_behind(
    serve: Callable[[], Serve], tap: Tap
) -> None:
    together = threading.Barrier(8)
    failures: list[BaseException] = []

    def come_and_go() -> None:
        try:
            together.wait(60)
            for round_ in range(5):
                connection = client(url)
                assert answers(connection)
                if round_ % 2:
                    vanish(connection)
                else:
                    connection.close()
        except BaseException as error:
            failures.append(error)

    with serve() as url:
        threads = [threading.Thread(target=come_and_go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        become(tap, 0)


@each_kind
def test_connections_older_than_instrument_are_not_counted_down(serve: Callable[[], Serve]) -> None:
    with serve() as url, client(url) as older:
        assert answers(older)  # only now the server's side is open for certain
        with metertap.instrument(json_endpoint=False) as tap, client(url) as newer:
            become(tap, 1)
            older.close()
            assert answers(newer)
            assert active(tap) == 1
            newer.close()
            become(tap, 0)


@each_kind
def test_a_connection_that_outlives_its_meter_is_undisturbed(serve: Callable[[], Serve]) -> None:
    with serve() as url:
        with metertap.instrument(json_endpoint=False):
            connection = client(url)
        assert answers(connection)
        connection.close()


def test_everything_is_as_before_once_it_is_undone() -> None:
    owners: list[Any] = [ServerProtocol]
    with contextlib.suppress(ImportError):
        from websockets.legacy.server import WebSocketServerProtocol

        owners.append(WebSocketServerProtocol)
    before = [dict(vars(owner)) for owner in owners]
    with metertap.instrument(json_endpoint=False):
        assert [dict(vars(owner)) for owner in owners] != before
        for patch_set in INSTRUMENTATION.patch_sets:
            assert patch_set.problem is None
    assert [dict(vars(owner)) for owner in owners] == before


def _handshake() -> ServerProtocol:
    """A protocol that nobody serves: open, its handshake passed by hand."""
    [request] = _sent(lambda there: there.send_request(there.connect()))
    here = ServerProtocol()
    here.receive_data(request)
    [event] = here.events_received()
    assert isinstance(event, websockets.server.Request)
    response = here.accept(event)
    here.send_response(response)
    with contextlib.suppress(AssertionError, RuntimeError):  # it is no second handshake
        here.send_response(response)
    return here


def _sent(act: Callable[[ClientProtocol], None]) -> list[bytes]:
    there = ClientProtocol(parse_uri("ws://127.0.0.1/"))
    act(there)
    return there.data_to_send()


def test_a_beginning_or_an_end_that_is_told_twice_counts_once(tap: Tap) -> None:
    one, other = _handshake(), _handshake()
    assert active(tap) == 2
    one.receive_eof()
    with contextlib.suppress(EOFError):  # what some versions say to that
        one.receive_eof()
    assert active(tap) == 1
    other.receive_eof()
    assert active(tap) == 0


def test_a_protocol_that_nobody_tells_of_its_end_ends_when_it_is_forgotten(tap: Tap) -> None:
    protocol = _handshake()
    assert active(tap) == 1
    del protocol
    gc.collect()
    assert active(tap) == 0
