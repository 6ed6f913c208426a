"""The application of `shop.py` with the figures mounted below `/meter`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import metertap

metertap.instrument()
inside = metertap.wsgi_app()


@metertap.tool
def search() -> int:
    return os.getpid()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    mount, slash, path = environ["PATH_INFO"].partition("/meter/")
    if slash:
        environ |= {"SCRIPT_NAME": mount + "/meter", "PATH_INFO": f"/{path}"}
        return inside(environ, start_response)
    body = b"%d" % search()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
