"""`metertap costs [URL]`: what tools cost, what caches save, and what could be changed."""

from __future__ import annotations

from metertap.cli.client import NONE, Unreachable
from metertap.cli.credentials import Credentials
from metertap.cli.processes import asked, document_of, none_run, processes, told_of, unserved
from metertap.cli.tables import complain, show, write_json
from metertap.tables import costs as tables
from metertap.tables.sections import Costs

_COMMAND = "costs"
_NONE_SEEN = (
    "no model call was seen that told how many tokens it used (clients of openai, anthropic, "
    "google-genai and litellm do, and models of frameworks that report it; "
    "metertap.record_usage(...) for others), and no tool has a fee"
)


def costs(url: str | None, *, as_json: bool, given: Credentials = NONE) -> int:
    """Show the costs of one process, or of all of this user. Returns exit status 1 without any."""
    found = processes(url, given)
    hidden = unserved() if url is None else []
    if not found and not hidden:
        complain(_COMMAND, none_run())
    shown: list[Costs] = []
    for process, document in asked(found, document_of):
        if isinstance(document, Unreachable):
            complain(_COMMAND, told_of(process, document))
            continue
        spent = document.get("cost_metrics")
        if spent is None:
            complain(_COMMAND, f"{process.name}: {_NONE_SEEN}")
            continue
        shown.append(spent)
        if not as_json:
            made = tables.tables(spent)
            made[0].title = f"{document['service'].get('name', process.name)}: {made[0].title}"
            show(made)
    for item, reason in hidden:
        complain(_COMMAND, f"{item.service} pid {item.pid} is not shown: {reason}")
    if as_json and shown:
        write_json(shown[0] if url is not None else shown)
    return 0 if shown else 1
