"""The metric catalogue: every name, unit, bucket and attribute that metertap emits.

MCP and GenAI names follow OpenTelemetry's `semantic-conventions-genai` (development status,
read in 2026-11). They are constants of our own because the published packages do not hold
them all yet, and because a convention that is still moving should move in one place.
"""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

from typing import NamedTuple

SCOPE = "metertap"
"""Name of the instrumentation scope (meter) of everything recorded here."""

# Attributes

TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
OUTCOME = "metertap.outcome"
ERROR_TYPE = "error.type"
OPERATION_NAME = "gen_ai.operation.name"
PROMPT_NAME = "gen_ai.prompt.name"
MCP_METHOD = "mcp.method.name"
MCP_PROTOCOL_VERSION = "mcp.protocol.version"
RPC_STATUS = "rpc.response.status_code"
NETWORK_TRANSPORT = "network.transport"
NETWORK_PROTOCOL = "network.protocol.name"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
CACHE_NAME = "cache.name"
CACHE_SYSTEM = "cache.system"
CACHE_REQUEST_TYPE = "cache.request.type"
FAULT_PLACE = "metertap.place"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  # a token of text
SIDE = "metertap.side"
DEFINITION_PART = "metertap.definition.part"

NAMES = (TOOL_NAME, PROMPT_NAME)
"""Attributes that have the name of the tool or prompt of a request."""

EXECUTE_TOOL = "execute_tool"
"""Value of `gen_ai.operation.name` on a `tools/call`."""

FUNCTION = "function"
"""Value of `gen_ai.tool.type` of a tool that the program itself runs."""

SERVER = "server"
"""Value of `metertap.side` where a tool runs: in a server, or in a framework."""

CLIENT = "client"
"""Value of `metertap.side` where a client asks another process to run a tool."""

OTHER = "_OTHER"
"""The name in place of one that is not registered (the conventions' fallback value)."""

MANUAL = "manual"
"""The source of tools and caches that a program measures by hand."""

# Metrics

_TOOL_BUCKETS = tuple(0.01 * 2**i for i in range(14))  # 0.01 … 81.92 s, GenAI conventions
_TOKEN_BUCKETS = tuple(4.0**i for i in range(14))  # 1 … 67,108,864 tokens, GenAI conventions
_SIZE_BUCKETS = tuple(float(64 * 4**i) for i in range(10))  # 64 B … 16 MiB
_MCP_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metric(NamedTuple):
    """One instrument: its name, unit (UCUM), description and, for histograms, bucket bounds.

    `side` says whose operations it measures: a `server`'s or a `client`'s.
    """

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] = ()
    side: str = ""


TOOL_DURATION = Metric(
    "gen_ai.execute_tool.duration", "s", "Duration of tool calls.", buckets=_TOOL_BUCKETS
)
TOOL_FIRST_ITEM = Metric(
    "metertap.tool.time_to_first_item",
    "s",
    "Time to the first item of tool calls that yield.",
    buckets=_TOOL_BUCKETS,
)
SERVER_DURATION = Metric(
    "mcp.server.operation.duration",
    "s",
    "Duration of MCP requests as the server saw them.",
    buckets=_MCP_BUCKETS,
    side="server",
)
CLIENT_DURATION = Metric(
    "mcp.client.operation.duration",
    "s",
    "Duration of MCP requests as the client saw them.",
    buckets=_MCP_BUCKETS,
    side="client",
)
SERVER_SESSION = Metric(
    "mcp.server.session.duration",
    "s",
    "Duration of MCP sessions as the server saw them.",
    buckets=_MCP_BUCKETS,
    side="server",
)
CLIENT_SESSION = Metric(
    "mcp.client.session.duration",
    "s",
    "Duration of MCP sessions as the client saw them.",
    buckets=_MCP_BUCKETS,
    side="client",
)
MODEL_DURATION = Metric(
    "gen_ai.client.operation.duration", "s", "Duration of model calls.", buckets=_TOOL_BUCKETS
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens that model calls used, as the provider reports them.",
    buckets=_TOKEN_BUCKETS,
)
OF_MODELS = (MODEL_DURATION, TOKEN_USAGE)
"""Metrics of model calls by the conventions; other instrumentations may record them as well."""
TOOL_COST = Metric("metertap.tool.cost", "{USD}", "What tools spent on models, and their fees.")
TOOL_FAILED_COST = Metric(
    "metertap.tool.failed_cost", "{USD}", "The part of the cost of tools that failed calls had."
)
TOOL_MISS_COST = Metric(
    "metertap.tool.miss_cost", "{USD}", "The part of the cost of tools after a cache had missed."
)
TOOL_LOOKUP_CALLS = Metric(
    "metertap.tool.lookup.calls",
    "{call}",
    "Successful calls that asked caches, by whether all lookups hit or one missed.",
)
TOOL_LOOKUP_TIME = Metric(
    "metertap.tool.lookup.time", "s", "The time that these calls took together."
)
TOOL_RESULT_SIZE = Metric(
    "metertap.tool.result.size",
    "By",
    "Size of tool results: bytes of text that a model gets.",
    buckets=_SIZE_BUCKETS,
)
TOOL_DEFINITION_SIZE = Metric(
    "metertap.tool.definition.size", "By", "Size of tool definitions, as clients get them."
)
TOOL_ACTIVE = Metric("metertap.tool.active", "{call}", "Tool calls in progress.")
SESSION_ACTIVE = Metric("metertap.session.active", "{session}", "Sessions that are open.")
CACHE_REQUESTS = Metric("cache.requests", "{request}", "Cache lookups by result.")
CACHE_EVICTIONS = Metric("cache.evictions", "{eviction}", "Entries that a cache evicted.")
CACHE_REJECTIONS = Metric(
    "cache.rejections", "{rejection}", "Entries that a cache refused because of their size."
)
CACHE_ENTRIES = Metric("cache.entries", "{entry}", "Entries that a cache holds.")
FAULTS = Metric("metertap.errors", "{error}", "Faults of metertap's own that it swallowed.")

# Views that the Prometheus exporter alone has

LATENCY_SUMMARY = "metertap_tool_latency_seconds"
LATENCY_MAX = "metertap_tool_latency_max_seconds"
OPERATION_SUMMARY = "metertap_operation_latency_seconds"
HIT_RATIO = "metertap_cache_hit_ratio"
