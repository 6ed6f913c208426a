"""Low-level servers, and what is known of each: its source, tools, and kinds of requests."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from metertap import catalogue
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import weights
from metertap_instrumentation.tools.mcp.names import KnownNames, ToolList
from metertap_instrumentation.tools.mcp.operations import (
    INITIALIZE,
    TOOLS_CALL,
    Kind,
    Kinds,
    Transport,
)

prompts = KnownNames()
"""Names of prompts that servers have listed or answered for."""


class Served:
    """The facts about one low-level server, as long as it lives."""

    def __init__(self, name: object) -> None:
        self.source = f"mcp:{name}"
        """The source of its tools, which keeps equal names of two servers apart."""
        self.tools = ToolList()
        self.kinds = Kinds()
        self.find_kind = self.kinds.find
        self.server: weakref.ref[Any] | None = None
        """A reference to the server, whose end removes these facts."""

    def answers(self, server: Any, method: str) -> bool:
        """Return whether the server, of mcp 2.x, has a handler for a method."""
        # To `initialize` the SDK answers itself.
        return method == INITIALIZE or server.get_request_handler(method) is not None

    def kind(
        self, method: str, name: str | None, version: str | None, transport: Transport
    ) -> Kind:
        """Return the kind of a request; kept if its tool or prompt is known to exist."""
        found = self.find_kind((method, name, version, transport))
        if found is not None:
            return found
        label, tool, era = name, None, recorder().era
        if name is not None and method == TOOLS_CALL:
            tool = recorder().find_tool(name, self.source)
            if tool is None:
                tool = recorder().other_tool(self.source)
            label = tool.name
        elif name is not None:
            label = prompts.label(name)
        kind = Kind(catalogue.SERVER_DURATION, (method, label, version, transport), tool)
        kind.served = self
        # The kind of `_OTHER` is made anew, as for each name that does not exist.
        if label == name and (tool is None or name != catalogue.OTHER):
            self.kinds.keep((method, name, version, transport), kind)
            if era is not recorder().era:  # the tool's series was forgotten meanwhile
                self.kinds.forget()
        return kind

    def listed(
        self,
        tools: Mapping[str, Any],
        measure: weights.Measure,
        cursor: str | None = None,
        next_cursor: str | None = None,
    ) -> None:
        """Take in an answer to `tools/list`: its tools are in the document from now on.

        `measure` returns the size of a tool's definition. A server may pass on the tools of others,
        who invent names, so that the number of series is limited.
        """
        self.tools.add(tools, cursor, next_cursor)
        for name in tools:
            recorder().tool_by_hand(name, self.source)
        weights.listed(tools, measure, self.source, catalogue.SERVER)


_served: dict[int, Served] = {}
"""Servers by id: a weak dictionary would hash and compare them in Python on every request.

It has names and no counts, so it stays correct after a fork or a reset.
"""


find_served = _served.get
"""Returns what is known of the server with this id, or None."""


def served_by(server: Any) -> Served:
    """Return what is known of `server`."""
    found = find_served(key := id(server))
    if found is None:
        made = Served(server.name)
        made.server = weakref.ref(server, lambda _server: _served.pop(key, None))
        found = _served.setdefault(key, made)
    return found


def prompts_listed(names: Iterable[str]) -> None:
    """Take in an answer to `prompts/list`: its names are labels from now on, also of failures."""
    for name in names:
        prompts.learn(name)


def name_in(fields: Mapping[str, Any] | None) -> str:
    """Return the name in the parameters of a request for a tool or prompt.

    A malformed request without a name counts as one for a name that does not exist.
    """
    name = fields.get("name") if fields else None
    return name if type(name) is str and name else catalogue.OTHER
