"""`metertap snapshot [URL]`: the document of a running process, as tables or as JSON."""

from __future__ import annotations

import sys

from metertap.cli.client import NONE, Unreachable
from metertap.cli.credentials import Credentials
from metertap.cli.processes import (
    Process,
    asked,
    document_of,
    none_run,
    processes,
    told_of,
    unserved,
)
from metertap.cli.tables import complain, show, write_json
from metertap.tables.document import Document
from metertap.tables.figures import tables
from metertap.tables.table import shortened
from metertap.text import ORDER

_COMMAND = "snapshot"
_MOST_ROWS = 40
"""The most rows of a table where all processes are shown; a named process is shown whole."""


def snapshot(url: str | None, *, as_json: bool, given: Credentials = NONE) -> int:
    """Show the named processes, or all. Returns exit status 1 where none answers."""
    found = processes(url, given)
    hidden = unserved() if url is None else []
    if not found and not hidden:
        complain(_COMMAND, none_run())
        return 1
    documents: list[tuple[Process, Document]] = []
    for process, answer in asked(found, document_of):
        if isinstance(answer, Unreachable):
            complain(_COMMAND, told_of(process, answer))
        else:
            documents.append((process, answer))
    if as_json and documents:
        only = url is not None and len(found) == 1
        write_json(documents[0][1] if only else [document for _, document in documents])
    else:
        is_order_told = False
        for process, document in documents:
            made = tables(
                document,
                name=process.name,
                pid=process.pid,
                url=process.url,
                is_order_told=is_order_told,
            )
            is_order_told |= any(ORDER in table.legend for table in made)
            show(made if url is not None else [shortened(table, _MOST_ROWS) for table in made])
    sys.stdout.flush()
    for item, reason in hidden:
        complain(_COMMAND, f"{item.service} pid {item.pid} is not shown: {reason}")
    return 0 if documents else 1
