"""Requests for one of several workers, `?worker=PID`, or for each apart, `?worker=each`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

from metertap_exporters.http.app import Environ, Response, json_error

EACH = "each"
"""The value that asks for every worker, apart from the others, in place of a process id."""


class HasLeft(Exception):
    """A worker has left its service, and knows no figures of all workers."""


def worker_asked(environ: Environ) -> str:
    """Return which worker a request wants; empty where it wants all of them together."""
    query: str = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("worker", [""])[-1][:20]


def left() -> Response:
    """Answer that another worker takes this one's place, and knows the figures of all."""
    return json_error(503, "this worker is ending, and another one takes its place; ask again")


def no_worker(asked: str, pids: Sequence[int]) -> Response:
    """Answer that nothing is known of the worker that was asked for."""
    known = ", ".join(map(str, pids))
    return json_error(404, f"nothing is known of a worker {asked}; there is {known}")
