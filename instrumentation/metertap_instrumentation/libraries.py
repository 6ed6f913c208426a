"""The libraries that are measured, and the verified versions of each.

Only this table knows them: the extras of `pyproject.toml`, the output of `metertap doctor`,
`docs/libraries.md` and the environments of continuous integration are checked against it.
"""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

import re
from typing import NamedTuple

Version = tuple[int, ...]


class Library(NamedTuple):
    """One library, as one module of this package measures it."""

    module: str
    """The module in `metertap_instrumentation` that measures it."""
    name: str
    """Its name in `METERTAP_DISABLED_INSTRUMENTATIONS`."""
    package: str
    """The module that a program imports; without it there is nothing to measure."""
    distribution: str
    """The installed distribution; "Python" for a part of the standard library."""
    first: str
    """The first version that was verified."""
    below: str
    """The first version that was not verified."""
    part: str = ""
    """The part that this module measures, if another one measures the rest."""

    @property
    def supported(self) -> tuple[Version, Version]:
        """The verified range: from the first version to below the last."""
        return parse_version(self.first), parse_version(self.below)

    @property
    def requirement(self) -> str:
        """The range as a requirement of `pyproject.toml`: `redis>=5,<9`."""
        return f"{self.distribution}>={self.first},<{self.below}"


PYTHON = "Python"

LIBRARIES: dict[str, Library] = {
    library.module: library
    for library in (
        Library(
            "tools.claude_agent_sdk",
            "claude_agent_sdk",
            "claude_agent_sdk",
            "claude-agent-sdk",
            "0.1.0",
            "0.3",
        ),
        Library("tools.langchain", "langchain", "langchain_core", "langchain-core", "0.3", "2"),
        Library("tools.langgraph", "langchain", "langgraph", "langgraph", "0.2", "2"),
        Library("tools.mcp", "mcp", "mcp", "mcp", "1.10", "3"),
        Library(
            "tools.openai_agents", "openai_agents", "agents", "openai-agents", "0.10.4", "0.25"
        ),
        Library("tools.pydantic_ai", "pydantic_ai", "pydantic_ai", "pydantic-ai-slim", "1.0", "3"),
        Library("models.anthropic", "anthropic", "anthropic", "anthropic", "0.46", "3"),
        Library(
            "models.claude_agent_sdk",
            "claude_agent_sdk",
            "claude_agent_sdk",
            "claude-agent-sdk",
            "0.1.0",
            "0.3",
            part="usage",
        ),
        Library("models.google_genai", "google_genai", "google.genai", "google-genai", "1.20", "4"),
        Library(
            "models.langchain",
            "langchain",
            "langchain_core",
            "langchain-core",
            "0.3",
            "2",
            part="usage",
        ),
        Library("models.litellm", "litellm", "litellm", "litellm", "1.65", "2"),
        Library("models.openai", "openai", "openai", "openai", "1.30", "4"),
        Library(
            "models.openai_agents",
            "openai_agents",
            "agents",
            "openai-agents",
            "0.10.4",
            "0.25",
            part="usage",
        ),
        Library(
            "models.pydantic_ai",
            "pydantic_ai",
            "pydantic_ai",
            "pydantic-ai-slim",
            "1.0",
            "3",
            part="usage",
        ),
        Library("caches.aiocache", "aiocache", "aiocache", "aiocache", "0.12", "0.13"),
        Library("caches.async_lru", "async_lru", "async_lru", "async-lru", "2.0", "3"),
        Library("caches.cachetools", "cachetools", "cachetools", "cachetools", "5", "9"),
        Library("caches.cashews", "cashews", "cashews", "cashews", "6", "8"),
        Library("caches.diskcache", "diskcache", "diskcache", "diskcache", "5.0", "6"),
        Library("caches.django", "django", "django", "django", "4.2", "7"),
        Library("caches.dogpile", "dogpile", "dogpile", "dogpile.cache", "1.2", "2"),
        Library(
            "caches.fastmcp", "fastmcp", "fastmcp", "fastmcp", "3.4", "5", part="response caching"
        ),
        Library("caches.functools_lru", "functools", "functools", PYTHON, "3.10", "3.14"),
        Library("caches.gptcache", "gptcache", "gptcache", "gptcache", "0.1.43", "0.2"),
        Library(
            "caches.langchain",
            "langchain",
            "langchain_core",
            "langchain-core",
            "0.3",
            "2",
            part="caches",
        ),
        Library("caches.redis", "redis", "redis", "redis", "5", "9"),
        Library("caches.redisvl", "redisvl", "redisvl", "redisvl", "0.8", "0.29"),
        Library("sessions.websockets", "websockets", "websockets", "websockets", "11", "18"),
    )
}
"""The libraries by module."""

MEASURED_BY_OTHERS = (Library("tools.mcp", "mcp", "fastmcp", "fastmcp", "2.14", "5"),)
"""Libraries that are built on one above, and measured by its module."""


def parse_version(text: str) -> Version:
    """Return the release numbers of a version; suffixes such as `rc1` do not count."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
