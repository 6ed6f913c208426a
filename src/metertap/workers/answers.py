"""Answers of a worker to other workers of its service, mostly to the holder of the port."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from metertap import native
from metertap.unmocked import unmocked
from metertap.workers.checking import Malformed
from metertap.workers.exchange import Told
from metertap.workers.ledger import Ledger
from metertap.workers.lines import MOST_ASKED, Incoming, is_this_users, listener
from metertap.workers.members import identity
from metertap.workers.rows import Sheet
from metertap.workers.wire import framed

_MOST_LINES = 64
"""The most connections at a time: every worker that is asked for all figures opens one."""
_SECONDS = 3.0
"""The longest, in seconds, that an answer waits for its reader."""


class Answers:
    """The listening socket of one worker, and its connections. For one thread."""

    def __init__(
        self,
        ledger: Ledger,
        instance: Callable[[], str],
        path: str,
        taken: Callable[[Sequence[str]], Sheet],
    ) -> None:
        """Answer from `ledger` at `path`. Raises OSError.

        `taken` returns sections as they are now, after saving them.
        """
        self._ledger = ledger
        self._taken = taken
        self._instance = instance
        self._path = path
        self._listening = listener(path)
        self._bound = identity(path)
        self._waiting: selectors.BaseSelector | None = None
        self._lines: dict[socket.socket, tuple[Incoming, dict[str, Told]]] = {}

    def listen(self, waiting: selectors.BaseSelector) -> None:
        """Register with `waiting` for questions, unless that is done already."""
        self._waiting = waiting
        if self._listening not in waiting.get_map():
            waiting.register(self._listening, selectors.EVENT_READ, self._accept)

    @property
    def is_in_place(self) -> bool:
        """Whether the socket is still at its path, where others look for it."""
        return self._bound == identity(self._path)

    def listen_again(self) -> None:
        """Listen at the same path again, after the socket was removed. Raises OSError."""
        with listener(self._path) as fresh:
            # In place of the former socket's descriptor, which is registered already.
            os.dup2(fresh.fileno(), self._listening.fileno(), inheritable=False)
        self._bound = identity(self._path)

    def close(self) -> None:
        """Close the socket and all connections."""
        for line in [*self._lines]:
            self._drop(line)
        if self._waiting is not None:
            with suppress(KeyError, ValueError, RuntimeError):
                self._waiting.unregister(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        assert self._waiting is not None
        try:
            line, _ = native.accepted_at(self._listening)
        except BlockingIOError:
            return
        except OSError:
            # Out of descriptors, the connection would keep waiting, and this thread would spin.
            self._waiting.unregister(self._listening)
            return
        if not is_this_users(line):
            line.close()
            return
        if len(self._lines) >= _MOST_LINES:
            self._drop(next(iter(self._lines)))
        line.settimeout(_SECONDS)
        self._lines[line] = Incoming(MOST_ASKED), {}
        self._waiting.register(line, selectors.EVENT_READ, partial(self._read, line))

    def _read(self, line: socket.socket) -> None:
        incoming, told = self._lines[line]
        try:
            message = incoming.take(line)
            if message is not None:
                wanted = message[0].get("sections")
                if not isinstance(wanted, list):
                    raise Malformed("it is no question")
                line.sendall(self._answer([name for name in wanted if type(name) is str], told))
        except (OSError, Malformed):
            self._drop(line)
        except BaseException:
            self._drop(line)  # the holder must not believe to have the rest
            raise

    def _answer(self, names: list[str], told: dict[str, Told]) -> bytes:
        at, known = unmocked.monotonic(), self._ledger.sections
        samples: list[bytes] = []
        sections = {}
        for name, items in self._taken(names).items():
            one = told.setdefault(name, Told())
            sections[name] = (
                None if one.has(items) else known[name].encoded(one.changes(items), samples)
            )
        return framed({"instance": self._instance(), "at": at, "sections": sections}, samples)

    def _drop(self, line: socket.socket) -> None:
        del self._lines[line]
        if self._waiting is not None:
            with suppress(KeyError, ValueError, RuntimeError):
                self._waiting.unregister(line)
        line.close()
