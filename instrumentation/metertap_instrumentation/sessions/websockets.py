"""Open connections of WebSocket servers, of the `websockets` library: `metertap.session.active`.

A connection counts from the end of its opening handshake to its end, however that comes. Servers on
asyncio, threads and trio each drive a `ServerProtocol`, the library's public layer without input
and output: `send_response` ends the handshake, and `receive_eof` tells that nothing more will come,
since the peer has closed, vanished or been cut off. The legacy server is a protocol of asyncio
instead: `connection_open`, `connection_lost`.

uvicorn drives either of them. It does not tell a `ServerProtocol` of its end, so that is noted
where uvicorn itself is told. If other code drives one without telling, the connection ends when its
protocol is freed.

Clients' connections are no sessions. Not seen: connections that were open before `instrument()`,
and other libraries' servers (wsproto under uvicorn, aiohttp). An MCP session over a WebSocket is
counted as what it is: one session and one connection.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Target, stand_in
from metertap.state import recorder
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_PLACE = "websockets.session"

_open: weakref.WeakKeyDictionary[Any, Callable[[], object]] = weakref.WeakKeyDictionary()
"""Functions that end the session of each open connection; the first caller takes it."""

# A finaliser may run anywhere, also where it must not wait for another lock: it only notes.
_over: deque[object] = deque()
"""Sessions that have ended and still have to be counted so."""


def answered(protocol: Any) -> None:
    """Begin a session after the answer to the opening handshake, unless that refused it."""
    if protocol.state.name == "OPEN":
        opened(protocol)


def opened(connection: Any) -> None:
    """Count a session as open from now on."""
    if connection not in _open:
        end = weakref.finalize(connection, _over.append, recorder().session_opened())
        end.atexit = False
        _open[connection] = end
        recorder().on_look(_count_ends)


def closed(connection: Any) -> None:
    """End the session of `connection`, if it has one."""
    end = _open.pop(connection, None)
    if end is not None:
        end()
        _count_ends()


def _count_ends() -> None:
    with contextlib.suppress(IndexError):
        while True:
            recorder().session_closed(_over.popleft())


def _then(method: str, note: Callable[[Any], None]) -> Target:
    """Return a target that calls `note` with the object after each call, however that ends."""

    def noted(connection: Any, _end: object) -> None:
        note(connection)

    return stand_in(
        method, around(_PLACE, lambda connection, *_rest, **_named: connection, noted, noted)
    )


INSTRUMENTATION = Instrumentation(
    LIBRARIES["sessions.websockets"],
    [
        PatchSet(
            "websockets.server",
            [
                _then("ServerProtocol.send_response", answered),
                _then("ServerProtocol.receive_eof", closed),
            ],
        ),
        PatchSet(
            "websockets.legacy.server",
            [
                _then("WebSocketServerProtocol.connection_open", opened),
                _then("WebSocketServerProtocol.connection_lost", closed),
            ],
        ),
        PatchSet(
            "uvicorn.protocols.websockets.websockets_sansio_impl",
            [
                _then(
                    "WebSocketsSansIOProtocol.connection_lost",
                    lambda protocol: closed(protocol.conn),
                )
            ],
        ),
    ],
)
