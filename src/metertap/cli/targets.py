"""`metertap targets [--out FILE]`: the endpoints that a Prometheus on this machine should scrape.

The format is that of `file_sd_configs` and of `http_sd_configs`: each endpoint answers with its
own part at `/targets`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TypedDict

from metertap.cli.client import UNIX, Unreachable, get
from metertap.cli.credentials import Credentials, for_registered
from metertap.cli.tables import complain
from metertap.cli.typed_json import Malformed, read
from metertap.replacing import replace
from metertap.runtime import running
from metertap.runtime.running import Running

_COMMAND = "targets"
_SCHEME = "__scheme__"
_WORKER = "__param_worker"
"""The label that makes a Prometheus ask for one worker."""


class Target(TypedDict):
    """Addresses to scrape, and the labels of their series."""

    targets: list[str]
    labels: dict[str, str]


def targets(out: str | None, given: Credentials) -> int:
    """Write the targets of every measured process of this user. Returns 1 where that fails.

    The file is replaced as a whole, so that a Prometheus that watches it never reads half of it.
    """
    found: list[Target] = []
    for process in running.running():
        if process.prometheus_url is not None and not process.prometheus_url.startswith(UNIX):
            try:
                found += _of(process, given)
            except (Unreachable, Malformed) as error:
                complain(_COMMAND, f"{process.service} pid {process.pid}: {error}")
        elif process.prometheus_url is None and process.json_url is not None:
            lacks = "has no Prometheus endpoint (PROMETHEUS_ENABLED=true makes one)"
            complain(_COMMAND, f"{process.service} pid {process.pid} {lacks}")
    text = json.dumps(found, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
        return 0
    try:
        replace(Path(out), text)
    except (OSError, ValueError) as error:
        complain(_COMMAND, str(error))
        return 1
    return 0


def _of(process: Running, given: Credentials) -> list[Target]:
    """Ask a process for its targets, and refuse any address but its own.

    Labels that begin with `__` tell a Prometheus what to ask, and where. For a malformed label name
    it refuses the whole file, and with it the targets of all other processes.
    """
    url = process.prometheus_url or ""
    found = read(get(url, "/targets", for_registered(given, process)), list[Target])
    scheme, _, address = url.partition("://")
    for target in found:
        if target["targets"] != [address] or not all(map(_is_harmless, target["labels"])):
            raise Malformed("it answers what is not its own address")
        if scheme == "https":
            target["labels"][_SCHEME] = scheme
    return found


def _is_harmless(label: str) -> bool:
    is_instruction = label.startswith("__") and label != _WORKER
    return re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", label) is not None and not is_instruction
