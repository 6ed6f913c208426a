"""Asking processes for their documents over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from metertap.runtime import running

_SECONDS = 5.0
_KEYS = {"/metrics": "tool_metrics", "/doctor": "instrumentations"}
"""What each document is known by: something else may answer at an address."""


class Unreachable(Exception):
    """A process did not answer with a document; the text says why."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that answers: where, and as whom it registered."""

    url: str
    name: str
    pid: int | None = None


def processes(url: str | None) -> list[Process]:
    """The one at `url`, or every measured process of this user."""
    if url is not None:
        address = _address(url)
        return [Process(address, address)]
    return [
        Process(item.json_url, item.service, item.pid)
        for item in running.running()
        if item.json_url is not None
    ]


def fetch(process: Process, path: str) -> dict[str, Any]:
    """GET one of its JSON documents: `/metrics` or `/doctor`. Raises Unreachable."""
    url = process.url + path
    # No proxy: these are addresses of this machine, or of one that was named.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_SECONDS) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{url} answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {getattr(error, 'reason', error)}") from None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or _KEYS[path] not in document:
        raise Unreachable(f"{url} is not a JSON endpoint of metertap")
    return document


def _address(url: str) -> str:
    """Scheme, host and port of what the user typed: `9109`, `host:9109`, with or without a path."""
    if url.isdecimal():
        url = f"127.0.0.1:{url}"
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
    except ValueError:  # fetching says what is wrong with it
        return url
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))
