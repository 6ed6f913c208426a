"""The provider of a client: by the client's class, or by the host that it calls.

Many providers can be called by another's client. An unknown one, a proxy or a server of the
program's own counts as the provider of that client. Names are those of OpenTelemetry's conventions,
if they have one.
"""

from __future__ import annotations

import functools
from typing import Any

from metertap.labels import as_label

_CLASSES = {
    "Azure": "azure.ai.openai",
    "Foundry": "azure.ai.inference",
    "Bedrock": "aws.bedrock",
    "Vertex": "gcp.vertex_ai",
}
"""Providers by a part of the name of their client's class."""
_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "amazonaws.com": "aws.bedrock",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
}
"""Providers by the end of a host's name."""


_NAMES = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "foundry": "azure.ai.inference",
    "amazon_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "vertex": "gcp.vertex_ai",
    "firstParty": "anthropic",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "text-completion-openai": "openai",
    "xai": "x_ai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
}
"""Providers whose names in litellm and frameworks differ from the conventions'."""


def provider_named(name: str) -> str:
    """Return the conventions' name of a provider, given a library's name for it.

    The name may come from a client: litellm takes it from the model in the request.
    """
    return "gcp.vertex_ai" if name.startswith("vertex_ai") else _NAMES.get(name) or as_label(name)


_known: dict[int, tuple[Any, type, str | None, tuple[str, int]]] = {}
"""By identity of a client's URL: the URL, the client's class, the provider, the server."""
_MOST_KNOWN = 256


def provider_of(client: Any, otherwise: str) -> tuple[str, tuple[str, int] | None]:
    """Return the provider that `client` calls, and the address and port of its server."""
    url = getattr(client, "_base_url", None) or getattr(client, "base_url", None)
    known = _known.get(id(url))
    if known is not None and known[0] is url and known[1] is type(client):
        return known[2] or otherwise, known[3]
    host = getattr(url, "host", None)
    if not isinstance(host, str) or not host:
        return otherwise, None
    port = getattr(url, "port", None) or (80 if getattr(url, "scheme", "") == "http" else 443)
    server, provider = (host, port), _provider(type(client).__name__, host)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[id(url)] = url, type(client), provider, server
    return provider or otherwise, server


@functools.lru_cache(maxsize=256)
def _provider(kind: str, host: str) -> str | None:
    for part, provider in _CLASSES.items():
        if part in kind:
            return provider
    return by_host(host)


def by_host(host: str) -> str | None:
    """Return the provider with that host; None if it is unknown."""
    parts = host.split(".")
    for start in range(len(parts) - 1):
        provider = _HOSTS.get(".".join(parts[start:]))
        if provider is not None:
            return provider
    return None
