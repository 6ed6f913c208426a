"""Sessions of servers and clients: how many are open, how long they last, over which transport.

A session does not know its transport, which was opened before it: pipes for stdio, an address for
HTTP and WebSockets. A server's session finds a note in its context; over HTTP the requests
themselves tell. A client may open several transports before their sessions begin: each session
looks for the one that made the stream that it reads.
"""

from __future__ import annotations

import sys
import weakref
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from metertap import catalogue, faults, outcomes
from metertap.measuring.calls import clock
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import Begin, around
from metertap.patching.targets import Make, stand_in
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import operations
from metertap_instrumentation.tools.mcp.operations import (
    HTTP,
    PIPE,
    UNKNOWN,
    WEBSOCKET,
    Transport,
)

_PLACE = "mcp.session"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class _Carrier:
    """The standard streams, or a WebSocket; the first session that reads them takes it."""

    __slots__ = ("server_id", "session_id", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.server_id: int | None = None
        self.session_id: int | None = None


# A tool may open sessions of its own, in a copy of the server's context, but a note is for one
# session alone. So it is an object that all copies share.
_carrier: ContextVar[_Carrier | None] = ContextVar("metertap_mcp_carrier", default=None)

_opened: weakref.WeakKeyDictionary[Any, Transport] = weakref.WeakKeyDictionary()
"""Transports that clients have opened for no session yet, by the generator that opened each.

`stdio_client` and the others are async generators that `asynccontextmanager` runs. Each has the
stream that it yields in its variable `read_stream`.
"""

_of_clients: dict[int, Transport] = {}
"""Transports of the clients' open sessions, by the session's id."""

transport_of = _of_clients.get
"""Returns the transport of the client's session with this id."""


def of_server(server: Any) -> Transport:
    """Return the transport of `server`, in whose request this code runs, if it is not HTTP."""
    carrier = _carrier.get()
    if carrier is None:
        return UNKNOWN
    if carrier.server_id is None:
        carrier.server_id = id(server)
    return carrier.transport if carrier.server_id == id(server) else UNKNOWN


def of_session(session: Any) -> Transport:
    """Return the transport of a server's `session`, in which this code runs, if it is not HTTP."""
    carrier = _carrier.get()
    if carrier is None:
        return UNKNOWN
    if carrier.session_id is None:
        carrier.session_id = id(session)
    return carrier.transport if carrier.session_id == id(session) else UNKNOWN


def patch_sets() -> list[PatchSet]:
    """Return the patches of functions that open transports, in either version of the SDK."""
    opens = around(_PLACE, _url_opened)
    begins = around(_PLACE, _process_started)
    return [
        PatchSet("mcp.server.stdio", [stand_in("anyio.wrap_file", around(_PLACE, _file_wrapped))]),
        PatchSet("mcp.client.stdio", [stand_in("_create_platform_compatible_process", begins)]),
        PatchSet("mcp.client.sse", [stand_in("remove_request_params", opens)]),
        PatchSet(
            "mcp.client.streamable_http",
            [stand_in("StreamableHTTPTransport.__init__", around(_PLACE, _transport_made))],
        ),
    ]


def websocket_patch_sets() -> list[PatchSet]:
    """Return the patches for WebSockets, which only the SDK 1.x has."""
    accepts, connects = around(_PLACE, _websocket_made), around(_PLACE, _websocket_opens)
    return [
        PatchSet("mcp.server.websocket", [stand_in("WebSocket.__init__", accepts)], optional=True),
        PatchSet(
            "mcp.client.websocket", [stand_in("ws_connect.__init__", connects)], optional=True
        ),
    ]


def _session_of(on_request: Any) -> _Session | None:
    """Return the session whose requests `on_request` answers; None if it belongs to none."""
    module = str(getattr(on_request, "__module__", ""))
    owner = getattr(on_request, "__self__", None)
    if module.startswith("mcp.server."):
        return _ServerSession(getattr(owner, "connection", None))
    if module.startswith("mcp.client.") and owner is not None:
        return _ClientSession(owner)
    return None


def _begun(session: _Session, reader: Any) -> _Session:
    with faults.guarded(_PLACE):
        session.begin(reader)
    return session


def _lasting(begin: Begin) -> Make:
    """Return a maker of stand-ins for a method that runs as long as the session of `begin`."""
    return around(
        _PLACE,
        begin,
        lambda session, _result: session.end(None),
        lambda session, error: session.end(error),
    )


def _runs(dispatcher: Any, on_request: Any = None, *_rest: Any, **_named: Any) -> _Session | None:
    session = _session_of(on_request)
    return None if session is None else _begun(session, dispatcher)


run_server_session = _lasting(lambda peer, *_rest, **_named: _begun(_ServerSession(peer), peer))
"""Measure `ServerSession._receive_loop` of mcp 1.x, which runs as long as one session."""
run_client_session = _lasting(lambda peer, *_rest, **_named: _begun(_ClientSession(peer), peer))
"""Measure `ClientSession._receive_loop` of mcp 1.x, which runs as long as one session."""
run_dispatcher = _lasting(_runs)
"""Measure a dispatcher's `run(on_request, …)` of mcp 2.x, which runs as long as one connection.

A server's passes requests to `mcp.server`, a client's to its session. A request of the 2026-07-28
protocol over HTTP has no session and no dispatcher.
"""


class _Session:
    """One session from its beginning to its end."""

    metric: catalogue.Metric
    transport = UNKNOWN

    def __init__(self, peer: Any = None) -> None:
        self.peer = peer
        """The object that knows the protocol's version, once that is agreed upon."""

    def begin(self, _reader: Any) -> None:
        """Note the time at which the session begins; the argument reads its stream."""
        self.started = clock()

    def end(self, error: BaseException | None) -> None:
        """Record the session. Cancelling its task is the usual way to end one."""
        version = getattr(self.peer, "protocol_version", None)
        error_type = None
        if error is not None and not outcomes.is_cancellation(error):
            error_type = outcomes.error_type(error)
        operations.record_session(
            self.metric, clock() - self.started, error_type, version, self.transport
        )


class _ServerSession(_Session):
    metric = catalogue.SERVER_SESSION
    _opened: object = None

    def begin(self, _reader: Any) -> None:
        super().begin(_reader)
        self._opened = recorder().session_opened()
        self.transport = of_session(self.peer or self)

    def end(self, error: BaseException | None) -> None:
        if self._opened is not None:
            recorder().session_closed(self._opened)
            super().end(error)


class _ClientSession(_Session):
    metric = catalogue.CLIENT_SESSION

    def begin(self, reader: Any) -> None:
        super().begin(reader)
        transport = _claim(getattr(reader, "_read_stream", None))
        if transport is not None:
            self.transport = _of_clients[id(self.peer)] = transport

    def end(self, error: BaseException | None) -> None:
        _of_clients.pop(id(self.peer), None)
        super().end(error)


def _file_wrapped(_file: object = None, *_rest: Any, **_named: Any) -> None:
    """Note `anyio.wrap_file` of the standard streams, which `stdio_server` and others call."""
    frame = _caller("mcp.server.stdio")
    if frame is not None and (_carrier.get() is None or frame.f_locals.get("stdout") is None):
        _carrier.set(_Carrier(PIPE))


def _websocket_made(*_args: Any, **_kwargs: Any) -> None:
    """Note Starlette's `WebSocket`, which `websocket_server` and others make."""
    if _caller("mcp.server.websocket") is not None:
        _carrier.set(_Carrier(WEBSOCKET))


def _websocket_opens(_connection: object, uri: str, *_rest: Any, **_named: Any) -> None:
    """Note `connect` of websockets, which `websocket_client` and others call."""
    if _caller("mcp.client.websocket") is not None:
        _url_opened(uri)


def _caller(module: str) -> Any:
    """Return the frame that called the patched function, if that is in `module`."""
    frame: Any = sys._getframe(3)
    for _ in range(3):  # others may have wrapped it after us
        if frame is not None and frame.f_globals.get("__name__") == module:
            return frame
        frame = frame and frame.f_back
    return None


def _process_started(*_args: Any, **_kwargs: Any) -> None:
    """Note that `stdio_client` has started a server, and talks to it through pipes."""
    _note(PIPE)


def _transport_made(_transport: object, url: str, *_rest: Any, **_named: Any) -> None:
    _url_opened(url)


def _url_opened(url: str) -> None:
    """Note the URL of a client's transport over HTTP or a WebSocket."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    over = WEBSOCKET if parts.scheme.startswith("ws") else HTTP
    _note(over._replace(address=parts.hostname, port=port))


def _note(transport: Transport) -> None:
    """Note `transport` for the async generator below this frame that is opening it."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__aenter__":  # the first one, of `asynccontextmanager`
            generator = getattr(frame.f_locals.get("self"), "gen", None)
            if generator is not None:
                _opened[generator] = transport
            return
        frame = frame.f_back


def _claim(stream: Any) -> Transport | None:
    """Return the transport that was opened to yield `stream`, for the one session that reads it."""
    for _ in range(3):  # others may have wrapped it
        stream = getattr(stream, "__wrapped__", stream)
    for generator in list(_opened):
        frame = generator.ag_frame
        if frame is None:  # it is over
            _opened.pop(generator, None)
        elif stream is not None and frame.f_locals.get("read_stream") is stream:
            return _opened.pop(generator, None)
    return None
