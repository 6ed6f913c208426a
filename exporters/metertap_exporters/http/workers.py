"""Requests for one of several workers, `?worker=PID`, or for each separately, `?worker=each`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

from metertap_exporters.http.app import Environ, Response, json_error

EACH = "each"
"""The value that asks for each worker separately, instead of a process id."""


class HasLeft(Exception):
    """Raised by a worker that has left its service, and does not know all workers' figures."""


def worker_asked(environ: Environ) -> str:
    """Return the worker that a request asks for; empty for all of them together."""
    query: str = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("worker", [""])[-1][:20]


def left() -> Response:
    """Return the answer that another worker takes this one's place, and knows all figures."""
    return json_error(503, "this worker is ending, and another one takes its place; ask again")


def no_worker(asked: str, pids: Sequence[int]) -> Response:
    """Return the answer that the requested worker is unknown."""
    known = ", ".join(map(str, pids))
    return json_error(404, f"nothing is known of a worker {asked}; there is {known}")
