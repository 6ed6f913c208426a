"""Data of a history, from the file of `METERTAP_HISTORY`: `GET /history.json` and `/costs.json`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from metertap.costs.budget import daily_budget
from metertap_exporters.http.app import Environ, Response, Route, json_error, json_response
from metertap_exporters.http.shared import SharedRoute

if TYPE_CHECKING:
    from metertap.history.answers import Answers, By

_DAY = 86_400.0
_LONGEST = 4000 * _DAY
_MOST_ROWS = 200
"""The most tools, caches and requests of each kind that are shown: the most used ones."""
_SECTIONS = ("tools", "caches", "operations")

Ask = Callable[["Answers", float, float, "By"], dict[str, Any]]
"""A function that makes a document of a history's answers between two Unix times."""


def history_route(file: Path | None) -> Route:
    """Return the route of trends: by default, of the last week.

    Periods are so long that there are about thirty, so that no question is too large.
    """

    def ask(answers: Answers, since: float, until: float, by: By) -> dict[str, Any]:
        from metertap.history.times import step_for
        from metertap.history.trends import as_json, trends

        step = step_for(until - since)
        document = as_json(trends(answers, since=since, until=until, step=step, by=by))
        for section in _SECTIONS:
            del document[section][_MOST_ROWS:]
        return document

    return _route(file, 7, ask)


def costs_route(file: Path | None, service: Callable[[], str | None]) -> Route:
    """Return the route of what `service` spent by day (UTC), tool and model; default: 30 days."""

    def ask(answers: Answers, since: float, until: float, by: By) -> dict[str, Any]:
        from metertap.history.spending import spending

        found = spending(
            answers, since=since, until=until, service=service(), by_version=by == "version"
        )
        return found.as_json(daily_budget())

    return _route(file, 30, ask)


def _route(file: Path | None, days: int, ask: Ask) -> Route:
    """Return a route that answers one question at a time, for all requests that ask it.

    It takes `since` and `until` in Unix seconds (by default the last `days`), and `by=version`.
    """
    if file is None:
        return lambda _environ: json_error(
            404, "no history is kept: METERTAP_HISTORY=FILE keeps one"
        )
    from metertap.history import forks
    from metertap.history.answers import HistoryError
    from metertap.history.file_answers import FileAnswers

    def answer(environ: Environ) -> Response:
        asked = dict(parse_qsl(_query(environ)))
        try:
            until = float(asked.get("until", time.time()))
            since = float(asked.get("since", until - days * _DAY))
        except ValueError:
            since = until = math.nan
        if not 0 < until - since <= _LONGEST or not 0 <= since <= until <= 1e11:
            return json_error(400, "since and until are Unix seconds, the earlier one first")
        by: By = "version" if asked.get("by") == "version" else "none"
        try:
            forks.check(file)
            with forks.reading, closing(FileAnswers(file)) as answers:
                return json_response(200, ask(answers, since, until, by))
        except HistoryError as error:
            return json_error(503, str(error))

    return SharedRoute(answer, _query, is_long=True)


def _query(environ: Environ) -> str:
    return str(environ.get("QUERY_STRING", ""))
