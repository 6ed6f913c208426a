"""The data of the history's view: `GET /history.json`, from the file of `METERTAP_HISTORY`."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl

from metertap_exporters.http.app import Environ, Response, Route, json_error, json_response
from metertap_exporters.http.shared import SharedRoute

_WEEK = 7 * 86_400.0
_LONGEST = 4000 * 86_400.0
_MOST_ROWS = 200
"""Tools, caches and requests of each kind that are shown: the most used."""
_SECTIONS = ("tools", "caches", "operations")


def history_route(file: Path | None) -> Route:
    """Make the route: one question at a time is answered, for all who ask the same.

    It takes `since` and `until` in Unix seconds (by default the last week), and `by=version`.
    Periods are as long as some thirty of them need, so that no question is too large.
    """
    if file is None:
        return lambda _environ: json_error(
            404, "no history is kept: METERTAP_HISTORY=FILE keeps one"
        )
    from metertap.history.answers import HistoryError
    from metertap.history.file_answers import FileAnswers
    from metertap.history.times import step_for
    from metertap.history.trends import as_json, trends

    def answer(environ: Environ) -> Response:
        asked = dict(parse_qsl(_query(environ)))
        try:
            until = float(asked.get("until", time.time()))
            since = float(asked.get("since", until - _WEEK))
        except ValueError:
            since = until = math.nan
        if not 0 < until - since <= _LONGEST or not 0 <= since <= until <= 1e11:
            return json_error(400, "since and until are Unix seconds, the earlier one first")
        try:
            with closing(FileAnswers(file)) as answers:
                found = trends(
                    answers,
                    since=since,
                    until=until,
                    step=step_for(until - since),
                    by="version" if asked.get("by") == "version" else "none",
                )
        except HistoryError as error:
            return json_error(503, str(error))
        document = as_json(found)
        for section in _SECTIONS:
            del document[section][_MOST_ROWS:]
        return json_response(200, document)

    return SharedRoute(answer, _query)


def _query(environ: Environ) -> str:
    return str(environ.get("QUERY_STRING", ""))
