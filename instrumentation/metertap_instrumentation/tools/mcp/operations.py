"""The records of requests and sessions: servers and clients make the same ones, each on its metric.

Attributes are those of OpenTelemetry's conventions for MCP.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metertap import catalogue
from metertap.state import recorder

INITIALIZE = "initialize"
TOOLS_CALL = "tools/call"
TOOLS_LIST = "tools/list"
PROMPTS_GET = "prompts/get"


class Transport(NamedTuple):
    """How a session reaches its peer; what is None is not known."""

    network: str | None = None
    """`pipe` or `tcp`."""
    protocol: str | None = None
    """`http`, above `tcp`."""
    address: str | None = None
    """A server's, where a client knows it."""
    port: int | None = None


UNKNOWN = Transport()
PIPE = Transport("pipe")
HTTP = Transport("tcp", "http")


def record_request(
    metric: catalogue.Metric,
    seconds: float,
    method: str,
    name: str | None,
    error_type: str | None,
    code: int | None,
    version: str | None,
    transport: Transport,
) -> None:
    """Record one request that took `seconds`; what is None is not known, or not so."""
    key = (metric.name, method, name, error_type, code, version, transport)
    point = recorder().find_operation(key)
    if point is None:
        known = {
            catalogue.MCP_METHOD: method,
            catalogue.ERROR_TYPE: error_type,
            catalogue.RPC_STATUS: None if code is None else str(code),
            **_of_peer(version, transport),
        }
        if method == TOOLS_CALL:
            known[catalogue.TOOL_NAME] = name
            known[catalogue.TOOL_TYPE] = catalogue.FUNCTION
            known[catalogue.OPERATION_NAME] = catalogue.EXECUTE_TOOL
        else:
            known[catalogue.PROMPT_NAME] = name
        point = recorder().operation(key, metric, _present(known))
    point.record(seconds)


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
    return {key: value for key, value in attributes.items() if value is not None}
