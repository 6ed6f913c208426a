"""`metertap costs [URL]`: what tools cost, what caches save, and what could be changed."""

from __future__ import annotations

from metertap.cli.client import NONE, Unreachable
from metertap.cli.credentials import Credentials
from metertap.cli.processes import asked, document_of, processes, told_of
from metertap.cli.tables import complain, show, write_json
from metertap.runtime import running
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
    if not found:
        complain(_COMMAND, running.problem() or "no measured process of this user can be asked")
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
    if as_json and shown:
        write_json(shown[0] if url is not None else shown)
    return 0 if shown else 1
