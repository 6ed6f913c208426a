"""What the API of OpenAI answers, of which each of its clients makes an object of its own."""

from __future__ import annotations

from typing import Any

from kits.model_client import MODEL

COUNTS = {"input_tokens": 1200, "output_tokens": 300, "cached_tokens": 200, "reasoning_tokens": 50}
"""What is counted of each answer below."""
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 200},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
RESPONSE_USAGE = {
    "input_tokens": 1200,
    "output_tokens": 300,
    "total_tokens": 1500,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens_details": {"reasoning_tokens": 50},
}


class ChatAnswers:
    """Of chat completions."""

    def answer(self) -> Any:
        message = {"role": "assistant", "content": "answered"}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": USAGE,
        }

    def events(self) -> list[Any]:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        said = {"index": 0, "delta": {"content": "answered"}, "finish_reason": None}
        return [
            {**chunk, "choices": [said]},
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**chunk, "choices": [], "usage": USAGE},
            "[DONE]",
        ]


class ResponseAnswers:
    """Of responses."""

    def answer(self) -> Any:
        return {
            "id": "1",
            "object": "response",
            "created_at": 1,
            "model": MODEL,
            "status": "completed",
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": RESPONSE_USAGE,
        }

    def events(self) -> list[Any]:
        begun = {**self.answer(), "status": "in_progress", "output": [], "usage": None}
        made = {"type": "response.created", "sequence_number": 0, "response": begun}
        end = {"type": "response.completed", "sequence_number": 1, "response": self.answer()}
        return [("response.created", made), ("response.completed", end)]
