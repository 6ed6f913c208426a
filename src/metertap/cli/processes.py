"""The running processes that a command can ask, and requests for their documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from metertap.cli.client import NONE, UNIX, Unreachable, get
from metertap.cli.credentials import Credentials, for_address, for_registered
from metertap.cli.reports import Report
from metertap.cli.typed_json import Malformed, read
from metertap.runtime import running
from metertap.runtime.running import Running
from metertap.tables.document import Document, Service
from metertap.tables.spending import Spending
from metertap.text import duration, without_secrets

Kind = TypeVar("Kind", Document, Report)
_NONE_RUN = "no measured process of this user runs"
_STARTS = "the page of its service is starting"
_OFF = "it has no JSON endpoint"
_RUN = "measured processes that run: %s"
_MOST_LISTED = 5
"""The most processes that are named after a wrong address."""
_MOST_AT_ONCE = 20
"""The most processes that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process that can be asked: its address, and the name and id that it registered."""

    url: str
    name: str
    pid: int | None = None
    instance_id: str | None = None
    """The instance id that its documents must have, if it registered one."""
    credentials: Credentials = NONE
    """The credentials to send to it, and the certificate by which it is recognised."""
    query: str = ""
    """`?worker=PID`, if only one of several workers is wanted."""


def processes(which: str | None, given: Credentials = NONE) -> list[Process]:
    """Return the processes of this user that can be asked, newest last, or the ones `which` names.

    `which` is an address, or the id or the name of such processes. A number is a port if one of
    them has it, else a process id. `given` holds the credentials of the command line.
    """
    if which is not None and not which.isdecimal() and re.search("[:/]", which):
        return [_typed(which, given)]
    found = [registered(item, given) for item in running.running() if item.json_url is not None]
    if which is None:
        return found
    meant = [process for process in found if which in {process.name, str(process.pid)}]
    if which.isdecimal() and any(process.url.endswith(f":{which}") for process in found):
        meant = []
    return meant or [_typed(which, given)]


def told_of(process: Process, error: Unreachable) -> str:
    """Say why a process gave no answer; where nothing listens, also list the running ones."""
    if not error.is_nowhere or process.pid is not None:
        return str(error)
    for item, reason in unserved():
        if process.url.endswith(f":{item.pid}"):  # the number was a process id
            return f"{item.service} pid {item.pid} is not shown: {reason}"
    found = processes(None)
    listed = [f"{item.name} pid {item.pid} at {item.url}/" for item in found[-_MOST_LISTED:]]
    if len(listed) < len(found):
        listed.insert(0, f"{len(found) - len(listed)} more")
    others = _RUN % ", ".join(listed) if found else none_run()
    return f"nothing answers at {process.url} ({error.reason}); {others}"


def none_run() -> str:
    """Say that no process is measured, and when the last one ended if the system knows that."""
    problem = running.problem()
    if problem is not None:
        return problem
    ago = running.ended_seconds_ago()
    if ago is None:
        return _NONE_RUN
    # The files of a killed process were removed just now: their time says nothing.
    ended = f"ended {duration(ago)} ago" if ago >= 1 else "has ended"
    return f"{_NONE_RUN}: the last one {ended}; METERTAP_HISTORY=FILE keeps figures"


def registered(item: Running, given: Credentials = NONE) -> Process:
    """Return a process of this user that has registered its address."""
    return Process(
        item.json_url or "", item.service, item.pid, item.instance_id, for_registered(given, item)
    )


def unserved() -> list[tuple[Running, str]]:
    """Return the measured processes of this user that cannot be asked, each with the reason.

    Leaves out those for which another worker of their service answers.
    """
    found = running.running()
    answering = {item.workers for item in found if item.workers and item.json_url}
    problems = {item.workers: item.problem for item in found if item.problem}
    listed = [
        (item, item.problem or (item.workers and problems.get(item.workers, _STARTS)) or _OFF)
        for item in found
        if item.json_url is None and item.workers not in answering
    ]
    return listed + [(item, reason + _hint(item.pid)) for item, reason in running.unserved()]


def _hint(pid: int) -> str:
    """Return a hint for a process with children, which may do its work; empty without any."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:  # only Linux lists them
        return ""
    return "; metertap run --children measures the programs that it starts" if children else ""


def asked(
    found: Sequence[Process], ask: Callable[[Process], Kind]
) -> Iterator[tuple[Process, Kind | Unreachable]]:
    """Ask processes at the same time, so that one that hangs delays no other's answer."""

    def answer(process: Process) -> Kind | Unreachable:
        try:
            return ask(process)
        except Unreachable as error:
            return error

    with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
        yield from zip(found, threads.map(answer, found), strict=True)


def document_of(process: Process) -> Document:
    """Ask a process for its metrics document. Raises Unreachable if it returns none."""
    return _ask(process, f"/metrics{process.query}", Document)


def report_of(process: Process) -> Report:
    """Ask a process for its report of what is measured and what is not. Raises Unreachable."""
    return _ask(process, "/doctor", Report)


def spending_of(process: Process) -> Spending:
    """Ask a process for its costs on each of the last days. Raises Unreachable without history."""
    try:
        return read(get(process.url, "/costs.json", process.credentials), Spending)
    except Malformed as error:
        raise Unreachable(f"{process.url}/costs.json", str(error)) from None


def _ask(process: Process, path: str, kind: type[Kind]) -> Kind:
    url = process.url + path
    try:
        document = read(get(process.url, path, process.credentials), kind)
    except Malformed as error:
        reason = f"not a document of metertap that this version can read: {error}"
        raise Unreachable(url, reason) from None
    if process.pid is not None and not _is_of(process, document["service"]):
        raise Unreachable(url, f"another program answers there than process {process.pid}")
    return document


def _is_of(process: Process, service: Service) -> bool:
    """Return whether a document is from the process that registered the address.

    A killed process leaves its registration behind, and another program may take its port.
    """
    if process.instance_id is not None:
        return service.get("instance_id") == process.instance_id
    return service.get("name", running.UNNAMED) == process.name


def _typed(url: str, given: Credentials) -> Process:
    """Return the process at an address: `9109`, `host:9109`, or a URL with or without a path.

    A path alone, or after `unix:`, is that of a socket. A password in a URL is the token, and
    `?worker=PID` selects one worker.
    """
    if url.startswith(("/", UNIX)):
        url = f"{UNIX}{Path(url.removeprefix(UNIX)).absolute()}"
        return Process(url, url, credentials=for_address(given, url, ""))
    if url.isdecimal():
        url = f"127.0.0.1:{url}"
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        if parts.port == 0:  # an impossible port, such as half a password, raises on its own
            raise ValueError
        user, _, place = parts.netloc.rpartition("@")
        address = urlunsplit((parts.scheme, place, "", "", ""))
        token = unquote(user.partition(":")[2])
        query = f"?{parts.query}" if parts.query else ""
        credentials = for_address(given, address, token)
        return Process(address, address + query, credentials=credentials, query=query)
    except ValueError:  # the request will say what is wrong with it
        shown = without_secrets(url)
        return Process(shown, shown)
