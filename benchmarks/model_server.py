"""A server that answers clients of three providers of models.

It imports none of their packages, which takes a process seconds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ASKED: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_SAID = {"role": "assistant", "content": "yes"}
_CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": _SAID}],
    "usage": _USAGE,
}
_MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1200, "output_tokens": 300},
}
_CONTENT = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}, "index": 0}],
    "usageMetadata": {"promptTokenCount": 1200, "candidatesTokenCount": 300},
    "modelVersion": "gemini-2.5-flash",
}
_CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
_EVENTS = [
    *({**_CHUNK, "choices": [{"index": 0, "delta": {"content": "yes"}}]} for _ in range(10)),
    {**_CHUNK, "choices": [], "usage": _USAGE},
]
_STREAM = "".join(f"data: {json.dumps(event)}\n\n" for event in _EVENTS) + "data: [DONE]\n\n"


class _Answers(BaseHTTPRequestHandler):
    """Answers each kind of request as its provider would."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body: dict[str, Any] = _CHAT if "completions" in self.path else _MESSAGE
        if "generateContent" in self.path:
            body = _CONTENT
        text = _STREAM if asked.get("stream") else json.dumps(body)
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own, or its work would disturb the client's."""
    command = [sys.executable, "-m", "benchmarks.model_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
