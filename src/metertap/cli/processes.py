"""Asking processes for their documents over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from metertap import runtime_dir

_SECONDS = 5.0


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
        for item in runtime_dir.running()
        if item.json_url is not None
    ]


def fetch(process: Process, path: str) -> dict[str, Any]:
    """GET one of its JSON documents. Raises Unreachable."""
    # No proxy: these are addresses of this machine, or of one that was named.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(process.url + path, timeout=_SECONDS) as response:
            document = json.load(response)
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{process.url}{path} answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"{process.url}{path}: {getattr(error, 'reason', error)}") from None
    if not isinstance(document, dict):
        raise Unreachable(f"{process.url}{path} is not a metertap endpoint")
    return document


def _address(url: str) -> str:
    """Scheme, host and port of what the user typed: `9109`, `host:9109`, with or without a path."""
    if url.isdecimal():
        url = f"127.0.0.1:{url}"
    if "//" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))
