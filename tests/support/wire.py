"""What an MCP server wrote, as `servers/wire_recorder.py` keeps it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_RECORDER = Path(__file__).parents[1] / "servers" / "wire_recorder.py"


def recorder(kept: Path) -> list[str]:
    """The command that stands before a server's, and keeps what that writes."""
    return [sys.executable, "-S", str(_RECORDER), str(kept)]


def answers(kept: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each answer that has a result: the line, and the result."""
    for line in kept.read_bytes().splitlines():
        message = json.loads(line)
        if "result" in message:
            yield line, message["result"]


def definitions(kept: Path) -> dict[str, int]:
    """The bytes of each tool's definition, in an answer to `tools/list` without pages."""
    line, result = next((line, found) for line, found in answers(kept) if "tools" in found)
    found = {}
    for tool in result["tools"]:
        # As servers on Python's SDK write JSON; that it is in the line says that they sent it so.
        sent = json.dumps(tool, ensure_ascii=False, separators=(",", ":")).encode()
        assert line.count(sent) == 1
        found[tool["name"]] = len(sent)
    begins, ends = line.index(b'"tools":[') + len(b'"tools":['), line.rindex(b"]")
    assert sum(found.values()) + len(found) - 1 == ends - begins
    return found


def results(kept: Path) -> list[int]:
    """The bytes of the texts in each answer to a tool call, in order."""
    return [
        sum(len(block["text"].encode()) for block in result["content"])
        for _, result in answers(kept)
        if "content" in result
    ]
