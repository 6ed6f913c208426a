"""What a program pays once: the import, and `instrument()` where there is nothing to patch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.measuring import Result, result

_TIMED = "import time; started = time.perf_counter(); {code}; print(time.perf_counter() - started)"
# What a server has imported anyway: the SDK, wrapt, asyncio and the standard library's HTTP server.
_SERVER = "import asyncio, http.server, wsgiref.simple_server, wrapt, opentelemetry.sdk.metrics; "
_INSTRUMENT = _SERVER + _TIMED.format(code="import metertap; metertap.instrument(json_port=0)")
_IMPORT = _TIMED.format(code="import metertap")
_SDK = _TIMED.format(code="import opentelemetry.sdk.metrics")


def _seconds(code: str) -> float:
    command = [sys.executable, "-c", code]
    with tempfile.TemporaryDirectory() as empty:  # no project file that could be read
        ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=empty)
    return float(ran.stdout)


def imports(rounds: int) -> Iterator[Result]:
    """Each in a process of its own."""
    sdk, ours, instrument = [], [], []
    for _ in range(max(5, rounds // 2)):
        sdk.append(_seconds(_SDK))
        ours.append(_seconds(_IMPORT))
        instrument.append(_seconds(_INSTRUMENT))
    yield result("import metertap", "import opentelemetry.sdk.metrics", ours, sdk, 1.15)
    yield result("instrument(), nothing to patch", "30 ms", instrument, [0.03] * len(sdk), 1.0)
