"""A web application whose every request is one call of a tool and one lookup in a cache.

Run as a program it does the same for each line that it reads, and answers with a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import metertap

metertap.instrument()
prices = metertap.cache_meter("prices")


@metertap.tool
def search(number: int) -> int:
    (prices.hit if number % 2 else prices.miss)()
    return os.getpid()


for number in range(int(os.environ.get("WARMED_BY", 0))):
    search(number)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = b"%d" % search(int(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    body = b"%d" % search(int(scope["query_string"] or 0))
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{search(int(line))}\n")
        sys.stdout.flush()
