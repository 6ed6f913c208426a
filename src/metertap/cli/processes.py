"""The processes that a command asks, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from metertap.cli.client import Unreachable, get
from metertap.cli.reports import Report
from metertap.cli.typed_json import Malformed, read
from metertap.runtime import running
from metertap.runtime.running import Running
from metertap.tables.document import Document, Service

Kind = TypeVar("Kind", Document, Report)


@dataclass(frozen=True, slots=True)
class Process:
    """One process that can be asked: its address, and what it registered as."""

    url: str
    name: str
    pid: int | None = None
    instance_id: str | None = None
    """The instance that its documents must be of, where it registered one."""


def processes(url: str | None) -> list[Process]:
    """Return the process at `url`, or every one of this user that can be asked."""
    if url is not None:
        address = _address(url)
        return [Process(address, address)]
    return [
        Process(item.json_url, item.service, item.pid, item.instance_id)
        for item in running.running()
        if item.json_url is not None
    ]


def unserved() -> list[tuple[Running, str]]:
    """Return the measured processes of this user that cannot be asked, each with the reason."""
    listed = [
        (item, item.problem or "its JSON endpoint is switched off")
        for item in running.running()
        if item.json_url is None
    ]
    return listed + [(item, reason + _hint(item.pid)) for item, reason in running.unserved()]


def _hint(pid: int) -> str:
    """Return what is to be done about a process whose work others may do; empty if it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # only Linux tells
        return ""
    return "; metertap run --children measures the programs that it starts" if children else ""


def document_of(process: Process) -> Document:
    """Ask a process for its metrics. Raises Unreachable where it does not give them."""
    return _ask(process, "/metrics", Document)


def report_of(process: Process) -> Report:
    """Ask a process what is measured and what is not. Raises Unreachable."""
    return _ask(process, "/doctor", Report)


def _ask(process: Process, path: str, kind: type[Kind]) -> Kind:
    url = process.url + path
    try:
        document = read(get(url), kind)
    except Malformed as error:
        reason = f"not a document of metertap that this version can read: {error}"
        raise Unreachable(url, reason) from None
    if process.pid is not None and not _is_of(process, document["service"]):
        raise Unreachable(url, f"another program answers there than process {process.pid}")
    return document


def _is_of(process: Process, service: Service) -> bool:
    """Return whether a document is of the process that registered the address.

    A process that was killed leaves its registration behind, and its port to whoever comes next.
    """
    if process.instance_id is not None:
        return service.get("instance_id") == process.instance_id
    return service.get("name", running.UNNAMED) == process.name


def _address(url: str) -> str:
    """Return scheme, host and port of what was typed: `9109`, `host:9109`, a URL with a path."""
    if url.isdecimal():
        url = f"127.0.0.1:{url}"
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
    except ValueError:  # asking says what is wrong with it
        return url
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))
