"""One endpoint by itself, with one small answer, for tests of who may read it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from metertap_exporters.http.access import OPEN, Access
from metertap_exporters.http.app import App, Response, json_response
from metertap_exporters.http.endpoint import Endpoint

TOKEN = "0123456789abcdef-token"


def fine(_environ: object) -> Response:
    return json_response(200, {"fine": True})


@contextlib.contextmanager
def endpoint(
    access: Access = OPEN, host: str = "127.0.0.1", path: Path | None = None
) -> Iterator[Endpoint]:
    made = Endpoint("test", App({"/fine": fine}), host, 0, True, "PORT", access=access, socket=path)
    made.start()
    made.wait(60)
    try:
        yield made
    finally:
        made.stop()


def url_of(made: Endpoint) -> str:
    assert made.url is not None, made.problem
    return made.url
