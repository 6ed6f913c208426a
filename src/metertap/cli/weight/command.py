"""`metertap weight -- CMD` and `metertap weight --url URL`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing

from metertap.cli.credentials import Credentials
from metertap.cli.tables import complain, show, write_json
from metertap.cli.weight.http import Http
from metertap.cli.weight.options import Limit
from metertap.cli.weight.report import Report, as_json, as_markdown, as_table, report
from metertap.cli.weight.session import Deadline, Listing, Unusable, listing
from metertap.cli.weight.stdio import started
from metertap.text import ABOUT, without_secrets

_COMMAND = "weight"


def weight(
    server: Sequence[str],
    url: str | None,
    *,
    form: str,
    context: int,
    most: Limit | None,
    timeout: float,
    given: Credentials,
) -> int:
    """Show the sizes of a server's tool definitions, with their tokens.

    Returns exit status 1 if they exceed `most`, and 2 if the server could not be asked.
    """
    try:
        found = report(_listing(server, url, timeout, given), context)
    except Unusable as problem:
        complain(_COMMAND, f"{without_secrets(url or server[0])}: {problem}")
        return 2
    if form == "json":
        write_json(as_json(found))
    elif form == "github":
        sys.stdout.write(as_markdown(found))
    else:
        show([as_table(found)])
    excess = None if most is None else _excess(found, most)
    if excess is None:
        return 0
    if form == "github":  # GitHub shows this line as an error of the job
        sys.stderr.write(f"::error title=metertap weight::{excess}\n")
    else:
        complain(_COMMAND, excess)
    return 1


def _listing(
    command: Sequence[str], url: str | None, timeout: float, given: Credentials
) -> Listing:
    deadline = Deadline(timeout)
    if url is None:
        with started(command, deadline) as server:
            return listing(server)
    with closing(Http(url, given, deadline)) as server:
        return listing(server)


def _excess(found: Report, most: Limit) -> str | None:
    weighs, mark = found.bytes, ""
    if most.unit == "tokens":
        weighs, mark = found.tokens.number, ABOUT if found.tokens.is_estimate else ""
    if weighs <= most.most:
        return None
    return f"the definitions weigh {mark}{weighs} {most.unit}, and at most {most.most} are allowed"
