"""The records of requests and sessions, which servers and clients make alike on their metrics.

Attributes are those of OpenTelemetry's conventions for MCP. They are computed once for each kind of
request (`Kind`), so that a further request of the kind costs a look-up and an append.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metertap import catalogue
from metertap.labels import as_label
from metertap.measuring import calls
from metertap.state import recorder

if TYPE_CHECKING:
    from metertap.recording import DataPoint, Route, ToolSeries, WeightSeries
    from metertap.recording.operation_series import OperationSeries

INITIALIZE = "initialize"
TOOLS_CALL = "tools/call"
TOOLS_LIST = "tools/list"
PROMPTS_LIST = "prompts/list"
PROMPTS_GET = "prompts/get"
NAMING = frozenset({TOOLS_CALL, PROMPTS_GET})
"""Methods whose requests name a tool or a prompt."""

_KINDS_LIMIT = 1000
"""The most kinds kept on one side: a client may invent protocol versions without end."""


class Transport(NamedTuple):
    """The connection of a session to its peer; None is unknown."""

    network: str | None = None
    """`pipe` or `tcp`."""
    protocol: str | None = None
    """`http` or `websocket`, above `tcp`."""
    address: str | None = None
    """The server's address, if a client knows it."""
    port: int | None = None


UNKNOWN = Transport()
PIPE = Transport("pipe")
HTTP = Transport("tcp", "http")
WEBSOCKET = Transport("tcp", "websocket")

Key = tuple[str, str | None, str | None, Transport]
"""The method of a request, its tool or prompt, the protocol's version, and the transport."""


class Kind:
    """Requests that differ only in how they end, with the data point of those that go well.

    `name` is the label of the tool or prompt; None for other methods. `tool` is the series of a
    server's tool. A call has its kind as owner until an inner layer needs the request.
    """

    counted_by = calls.PATCH

    __slots__ = (
        "method",
        "metric",
        "name",
        "record",
        "route",
        "series",
        "served",
        "tool",
        "transport",
        "version",
        "weight",
    )

    series: OperationSeries
    """The series of the route's data point, which takes the tick of a client's call."""
    served: Any
    """The `served.Served` to which it belongs, on a server's side."""

    def __init__(self, metric: catalogue.Metric, key: Key, tool: ToolSeries | None = None) -> None:
        self.metric = metric
        self.method, self.name, self.version, self.transport = key
        self.tool = tool
        self.weight: WeightSeries | Literal[False] | None = (
            None if self.method == TOOLS_CALL else False
        )
        """The series of the tool's weight, once it was looked up; False if there is none."""
        self.route: Route | None = None
        """The route of tool calls that go well, after the first: to the weight, if there is one, to
        the server's tool, and to the data point, in this order."""
        self.record: Callable[[float, float], None] = self._record_first
        """Records a request that took so many seconds, went well, and ended then, by `clock`."""

    def _record_first(self, seconds: float, ended: float) -> None:
        point = self._point(self.name, None, None)
        self.record = point.recording  # a faster function from now on
        point.record(seconds, ended)

    def open_route(self, weight: WeightSeries | None) -> None:
        """Keep tool calls that go well in a route from now on, after the first was recorded."""
        point = self._point(self.name, None, None)
        parts = [part for part in (weight, self.tool, point) if part is not None]
        self.weight = weight or False
        self.series = point.series
        self.route = recorder().route(*parts)

    def record_as(
        self,
        name: str | None,
        error_type: str | None,
        code: int | None,
        seconds: float,
        ended: float,
    ) -> None:
        """Record a request that ended otherwise, or turned out to be for `name`.

        `code` is that of its JSON-RPC error, if it has one.
        """
        self._point(name, error_type, code).record(seconds, ended)

    def _point(self, name: str | None, error_type: str | None, code: int | None) -> DataPoint:
        metric, version, transport = self.metric, self.version, self.transport
        key = (metric.name, self.method, name, error_type, code, version, transport)
        point = recorder().find_operation(key)
        if point is None:
            known = {
                catalogue.MCP_METHOD: self.method,
                catalogue.ERROR_TYPE: error_type,
                catalogue.RPC_STATUS: None if code is None else str(code),
                **_of_peer(version, transport),
            }
            if self.method == TOOLS_CALL:
                known[catalogue.TOOL_NAME] = name
                known[catalogue.TOOL_TYPE] = catalogue.FUNCTION
                known[catalogue.OPERATION_NAME] = catalogue.EXECUTE_TOOL
            else:
                known[catalogue.PROMPT_NAME] = name
            point = recorder().operation(key, metric, _present(known))
        return point


class Kinds:
    """The kinds of requests that have gone well: of one server, or of this process's clients."""

    __slots__ = ("__weakref__", "_kept", "find")

    def __init__(self) -> None:
        self._kept: dict[Key, Kind] = {}
        self.find = self._kept.get
        """Returns the kind with this key, or None."""
        recorder().keep(self)

    def keep(self, key: Key, kind: Kind) -> None:
        """Keep a kind whose parts are all known to exist."""
        if len(self._kept) < _KINDS_LIMIT:
            self._kept[key] = kind

    def forget(self) -> None:
        """Forget every kind, since the series to which they record are not in force any more."""
        self._kept.clear()


def record_session(
    metric: catalogue.Metric,
    seconds: float,
    error_type: str | None,
    version: str | None,
    transport: Transport,
) -> None:
    """Record one session that lasted `seconds`."""
    key = (metric.name, error_type, version, transport)
    attributes = {catalogue.ERROR_TYPE: error_type, **_of_peer(version, transport)}
    recorder().record_operation(key, metric, _present(attributes), seconds)


def _of_peer(version: str | None, transport: Transport) -> dict[str, Any]:
    return {
        catalogue.MCP_PROTOCOL_VERSION: version if isinstance(version, str) else None,
        catalogue.NETWORK_TRANSPORT: transport.network,
        catalogue.NETWORK_PROTOCOL: transport.protocol,
        catalogue.SERVER_ADDRESS: transport.address,
        catalogue.SERVER_PORT: transport.port,
    }


def _present(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that have a value, shortened: the other side may choose their texts."""
    return {
        key: as_label(value) if isinstance(value, str) else value
        for key, value in attributes.items()
        if value is not None
    }
