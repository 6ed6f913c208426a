"""A scripted MCP session over pipes, byte for byte."""

from __future__ import annotations

import json
import subprocess
from typing import Any

_INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "script", "version": "1"},
}

# (method, params): a method without params is a notification.
SESSION: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("initialize", _INITIALIZE),
    ("notifications/initialized", None),
    ("tools/list", {}),
    ("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}),
    ("tools/call", {"name": "add", "arguments": {"a": "ünï", "b": []}}),
    ("tools/call", {"name": "fail", "arguments": {"text": "no\nno"}}),
    ("tools/call", {"name": "no such tool", "arguments": {}}),
    ("prompts/get", {"name": "greet", "arguments": {"name": "Ada"}}),
    ("resources/read", {"uri": "nothing://here"}),
    ("no/such/method", {}),
    ("ping", {}),
)


def talk(process: subprocess.Popen[bytes], session: Any = SESSION) -> bytes:
    """Say each line of `session` and wait for its answer; returns all that came back."""
    assert process.stdin is not None
    assert process.stdout is not None
    heard = b""
    for number, (method, params) in enumerate(session):
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message.update(id=number, params=params)
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        if params is not None:
            answer = process.stdout.readline()
            assert answer, f"no answer to {method}"
            heard += answer
    return heard
