"""`metertap open [URL]`: the live page of a running process, in a browser."""

from __future__ import annotations

import sys
import webbrowser

from metertap.cli.client import UNIX, Unreachable, get
from metertap.cli.processes import Process, none_run, processes, told_of, unserved
from metertap.cli.tables import complain
from metertap.text import printable

_COMMAND = "open"


def open_page(url: str | None) -> int:
    """Open the live page of a process. Returns exit status 1 if none runs, or several services do.

    Of several processes of one service, such as workers, the oldest is taken.
    """
    found = processes(url)
    if not found:
        reasons = [
            f"{item.service} pid {item.pid} has no page: {reason}" for item, reason in unserved()
        ]
        for reason in reasons or [none_run()]:
            complain(_COMMAND, reason)
        return 1
    if len({process.name for process in found}) > 1:
        complain(_COMMAND, "which one? metertap open URL")
        sys.stdout.write("".join(f"{printable(_described(process))}\n" for process in found))
        return 1
    if found[0].url.startswith(UNIX):
        complain(_COMMAND, f"{found[0].url} is a socket, and browsers know only ports")
        return 1
    try:
        get(found[0].url, "/healthz")
    except Unreachable as error:
        if error.is_nowhere:
            complain(_COMMAND, told_of(found[0], error))
            return 1
    address = f"{found[0].url}/"
    sys.stdout.write(f"{printable(address)}\n")
    sys.stdout.flush()  # before a browser in the terminal draws
    if not webbrowser.open(address):
        complain(_COMMAND, "no browser can be started here")
        return 1
    return 0


def _described(process: Process) -> str:
    return f"{process.url}/  {process.name} pid {process.pid}"
