"""Sessions and what they run over, told apart where they are opened."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import wrapt
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap.state import recorder
from metertap_instrumentation.tools.mcp import sessions
from metertap_instrumentation.tools.mcp.operations import PIPE, UNKNOWN, Transport
from support.metric_data import points
from support.stopped_clock import stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a context of its own."""
    return contextvars.copy_context().run(function, *arguments)


class Peer:
    """A session of either side, which knows the version of the protocol."""

    protocol_version = "2025-11-25"


class Reading(Peer):
    """A session of mcp 1.x, which reads its stream itself."""

    _read_stream: object = None


def shows_us(error: BaseException) -> bool:
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    return not files.isdisjoint({sessions.__file__, "<metertap>"}) and sys.version_info >= (3, 11)


# What they run over


@pytest.mark.parametrize("of", [sessions.of_server, sessions.of_session])
def test_the_standard_streams_are_of_the_first_that_reads_them(of: Any) -> None:
    first, second = object(), object()

    def nobody() -> None:
        assert of(first) == UNKNOWN

    def opened() -> None:
        sessions._carrier.set(sessions._Carrier(PIPE))
        assert [of(first), of(second), of(first)] == [PIPE, UNKNOWN, PIPE]

    alone(nobody)
    alone(opened)


def wrapping(module: str, is_wrapped: bool = False, **variables: Any) -> None:
    """Wrap a stream in a frame of `module`, as `anyio.wrap_file` is called there."""
    assert sessions._file_wrapped.__code__.co_name == "_file_wrapped"

    # One frame stands between, that of the wrapper that calls it; and those of others.
    def wrap() -> None:
        sessions._file_wrapped(0, (), {})

    space: dict[str, Any] = {"__name__": module, "wrap": (lambda: wrap()) if is_wrapped else wrap}
    names = ", ".join(variables)
    exec(f"def stdio_server({names}):\n    wrap()", space)
    space["stdio_server"](**variables)


def test_streams_that_the_sdk_wraps_are_the_standard_ones() -> None:
    def elsewhere() -> None:
        wrapping("shop", stdout=None)
        assert sessions._carrier.get() is None

    def by_the_sdk() -> None:
        wrapping("mcp.server.stdio", stdout=None)
        first = sessions._carrier.get()
        assert first is not None
        wrapping("mcp.server.stdio", stdout=object())  # the second stream of the same server
        assert sessions._carrier.get() is first
        wrapping("mcp.server.stdio", stdout=None)  # the first stream of another
        assert sessions._carrier.get() is not first

    def by_the_sdk_through_others() -> None:
        wrapping("mcp.server.stdio", is_wrapped=True, stdout=None)
        assert sessions._carrier.get() is not None

    def given() -> None:
        wrapping("mcp.server.stdio", stdout=object())
        assert sessions._carrier.get() is not None

    for case in (elsewhere, by_the_sdk, by_the_sdk_through_others, given):
        alone(case)


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("http://example.org/mcp", "http", 80),
        ("https://example.org/mcp", "http", 443),
        ("http://example.org:8443/mcp", "http", 8443),
        ("made-up://example.org/mcp", "http", None),
        ("ws://example.org/mcp", "websocket", 80),
        ("wss://example.org/mcp", "websocket", 443),
    ],
)
def test_a_client_over_http_or_a_websocket_knows_its_server(
    url: str, protocol: str, port: int | None
) -> None:
    made = sessions._transport_made
    for open_it in (lambda: sessions._url_opened(url), lambda: made(None, url)):
        assert claimed(open_it) == [Transport("tcp", protocol, "example.org", port), None]


def test_a_client_that_starts_a_program_talks_through_pipes() -> None:
    assert claimed(lambda: sessions._process_started("command", [], cwd=None)) == [PIPE, None]


@contextlib.asynccontextmanager
async def opening(open_it: Callable[[], object]) -> AsyncIterator[object]:
    """Yield a stream as the SDK's transports do."""
    open_it()
    read_stream = object()
    yield read_stream


def claimed(open_it: Callable[[], object]) -> list[Transport | None]:
    """What the first session on a stream finds, and what the next."""

    async def main() -> list[Transport | None]:
        async with opening(open_it) as stream:
            return [sessions._claim(stream), sessions._claim(stream)]

    return asyncio.run(main())


def test_each_session_finds_what_was_opened_for_it_in_whatever_order() -> None:
    def of(port: int) -> Callable[[], None]:
        return lambda: sessions._url_opened(f"http://shop:{port}/mcp")

    async def main() -> None:
        async with opening(of(1)) as first, opening(of(2)) as second, opening(of(3)) as third:
            proxy = wrapt.ObjectProxy(wrapt.ObjectProxy(third))  # others' instrumentations
            found = [sessions._claim(it) for it in (object(), None, second, proxy, first)]
            assert [it and it.port for it in found] == [None, None, 2, 3, 1]

    asyncio.run(main())


def test_what_was_opened_and_is_over_is_forgotten() -> None:
    async def main() -> None:
        over = opening(lambda: sessions._url_opened("http://shop/mcp"))
        async with over as stream:
            assert len(sessions._opened) == 1
        assert sessions._claim(stream) is None
        assert len(sessions._opened) == 0
        async with opening(lambda: sessions._url_opened("http://shop/mcp")):
            pass
        gc.collect()
        assert len(sessions._opened) == 0

    sessions._opened.clear()
    asyncio.run(main())


def test_what_no_generator_opens_is_not_noted() -> None:
    class Transporting:
        async def __aenter__(self) -> None:
            sessions._url_opened("http://shop/mcp")

        async def __aexit__(self, *_exception: object) -> None:
            pass

    async def main() -> None:
        async with Transporting():
            pass

    sessions._opened.clear()
    sessions._url_opened("http://shop/mcp")
    asyncio.run(main())
    assert len(sessions._opened) == 0


# What is a session


def method_of(module: str, owner: object) -> Any:
    return SimpleNamespace(__module__=module, __self__=owner)


def test_who_answers_says_whose_session_it_is() -> None:
    peer = Peer()
    server = sessions._session_of(method_of("mcp.server.runner", SimpleNamespace(connection=peer)))
    client = sessions._session_of(method_of("mcp.client.session", peer))
    assert isinstance(server, sessions._ServerSession)
    assert isinstance(client, sessions._ClientSession)
    assert server.peer is client.peer is peer
    assert sessions._session_of(SimpleNamespace(__module__="mcp.server.runner")) is not None
    assert sessions._session_of(SimpleNamespace(__module__="mcp.client.session")) is None
    assert sessions._session_of(method_of("shop", peer)) is None
    assert sessions._session_of(None) is None


def durations(reader: InMemoryMetricReader, side: str) -> list[tuple[float, dict[str, Any]]]:
    found = points(reader, f"mcp.{side}.session.duration")
    return [(point.sum, dict(point.attributes)) for point in found]


OPENS = [
    (sessions.run_server_session, "server", Peer(), ()),
    (sessions.run_client_session, "client", Peer(), ()),
    (
        sessions.run_dispatcher,
        "server",
        None,
        (method_of("mcp.server.runner", SimpleNamespace(connection=Peer())),),
    ),
    (sessions.run_dispatcher, "client", None, (method_of("mcp.client.session", Peer()),)),
]


@pytest.mark.parametrize(("run", "side", "instance", "args"), OPENS)
@pytest.mark.parametrize("error", [None, KeyError("k"), asyncio.CancelledError()])
def test_a_session_lasts_as_long_as_its_loop_and_says_how_it_ended(
    error: BaseException | None,
    run: Any,
    side: str,
    instance: Any,
    args: Any,
    reader: InMemoryMetricReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stopped(monkeypatch, sessions)

    async def loop(self: Any, *given: Any) -> str:
        assert (self, given) == (instance, args)
        assert recorder().active_sessions() == (1 if side == "server" else 0)
        clock.takes(2)
        if error is not None:
            raise error
        return "done"

    async def main() -> None:
        if error is None:
            assert await run(loop, [True])(instance, *args) == "done"
            return
        with pytest.raises(type(error)) as raised:
            await run(loop, [True])(instance, *args)
        assert not shows_us(raised.value)

    asyncio.run(main())
    expected = {"mcp.protocol.version": "2025-11-25"}
    if isinstance(error, KeyError):
        expected["error.type"] = "KeyError"
    assert durations(reader, side) == [(2.0, expected)]
    assert recorder().active_sessions() == 0


def test_what_is_no_session_runs_as_it_did(reader: InMemoryMetricReader) -> None:
    async def loop(self: Any, on_request: Any = None, **named: Any) -> Any:
        return self, on_request, named

    run = sessions.run_dispatcher(loop, [True])
    assert asyncio.run(run(1, 5, a=2)) == (1, 5, {"a": 2})
    assert asyncio.run(run(1, on_request=5)) == (1, 5, {})
    assert durations(reader, "server") == durations(reader, "client") == []


def test_a_session_of_a_client_has_the_transport_that_was_opened_for_it(
    reader: InMemoryMetricReader,
) -> None:
    peer, inner = Reading(), Reading()

    async def nothing(self: Reading) -> None:
        assert sessions.transport_of(id(self)) is None

    async def loop(self: Reading) -> None:
        assert sessions.transport_of(id(self)) == PIPE
        await sessions.run_client_session(nothing, [True])(inner)  # the note was for one session

    async def main() -> None:
        async with opening(sessions._process_started) as stream:
            peer._read_stream = inner._read_stream = stream
            await sessions.run_client_session(loop, [True])(peer)

    asyncio.run(main())
    assert sessions.transport_of(id(peer)) is None
    found = [attributes.get("network.transport") for _, attributes in durations(reader, "client")]
    assert sorted(found, key=str) == [None, "pipe"]


def test_a_server_on_the_standard_streams_has_a_session_on_pipes(
    reader: InMemoryMetricReader,
) -> None:
    async def nothing(_self: Peer) -> None:
        pass

    async def main() -> None:
        sessions._carrier.set(sessions._Carrier(PIPE))
        await sessions.run_server_session(nothing, [True])(Peer())

    asyncio.run(main())
    [(_, attributes)] = durations(reader, "server")
    assert attributes["network.transport"] == "pipe"
