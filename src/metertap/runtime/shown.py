"""A tap for people: one line at a prompt, and tables in a notebook."""

from __future__ import annotations

from typing import cast

from metertap.runtime.installation import Installation
from metertap.tables import document, figures, markup
from metertap.text import printable

_PAGE_IS_TO_COME = "The live page opens with the first call; show this again for its address."
_PAGE_STARTS = "The live page is starting; show this again for its address."
_PAGE_SECONDS = 1.0
"""The longest, in seconds, that tables in a notebook wait for the page's address."""


def line(installation: Installation, off: str) -> str:
    """Return a line that says what is measured, and where it is shown; or why it is `off`."""
    found = installation.document()
    tools, caches = len(found["tool_metrics"]), len(found["cache_metrics"])
    where = f"{installation.json_url}/ " if installation.json_url else ""
    if installation.is_starting():
        where = "page is starting, "
    shown = off or (
        f"{where}"
        f"{tools} {'tool' if tools == 1 else 'tools'}, "
        f"{caches} {'cache' if caches == 1 else 'caches'}"
    )
    return f"<metertap.Tap {printable(found['service'].get('name', ''))} {shown}>"


def tables(installation: Installation, off: str) -> str:
    """Return tools, caches and further figures as HTML tables, or why measuring is `off`."""
    found, said = installation.document(), off
    is_served, tools = installation.settings.json_endpoint, found["tool_metrics"]
    page = installation.page_within(0 if said else _PAGE_SECONDS)
    if not said and installation.is_starting():
        said = _PAGE_STARTS
    elif is_served and not (said or installation.json_url or tools):
        said = _PAGE_IS_TO_COME
    made = figures.tables(cast(document.Document, found))
    return markup.html(made, said, page and f"{page}/")
