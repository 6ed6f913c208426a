"""`metertap targets [--out FILE]`: what a Prometheus on this machine is to scrape.

It is the format of `file_sd_configs`, and of `http_sd_configs`: each endpoint answers with its own
part at `/targets`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TypedDict

from metertap.cli.client import UNIX, Unreachable, get
from metertap.cli.credentials import Credentials, for_registered
from metertap.cli.tables import complain
from metertap.cli.typed_json import Malformed, read
from metertap.runtime import running
from metertap.runtime.running import Running

_COMMAND = "targets"
_SCHEME = "__scheme__"


class Target(TypedDict):
    """Addresses, and labels of what is scraped there."""

    targets: list[str]
    labels: dict[str, str]


def targets(out: str | None, given: Credentials) -> int:
    """Write the targets of every measured process of this user. Returns 1 where that fails.

    A file is replaced as a whole, so that a Prometheus that watches it never reads half of it.
    """
    found: list[Target] = []
    for process in running.running():
        if process.prometheus_url is not None and not process.prometheus_url.startswith(UNIX):
            try:
                found += _of(process, given)
            except (Unreachable, Malformed) as error:
                complain(_COMMAND, f"{process.service} pid {process.pid}: {error}")
    text = json.dumps(found, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
        return 0
    path = Path(out)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        complain(_COMMAND, str(error))
        return 1
    return 0


def _of(process: Running, given: Credentials) -> list[Target]:
    url = process.prometheus_url or ""
    found = read(get(url, "/targets", for_registered(given, process)), list[Target])
    if url.startswith("https://"):
        for target in found:
            target["labels"][_SCHEME] = "https"
    return found
