"""A program that had a metrics collector of its own, and now uses metertap's by a changed import.

The import was `from shop.performance_metrics import PerformanceMetricsCollector`. The code after it
is unchanged.
"""

import time
from collections.abc import Callable
from typing import Any

from metertap import PerformanceMetricsCollector

metrics = PerformanceMetricsCollector()


class AnswerCache:
    def __init__(self, entries: int, longest: int) -> None:
        self._answers: dict[str, str] = {}
        self._entries = entries
        self._longest = longest

    def get(self, question: str) -> str | None:
        if question in self._answers:
            metrics.record_cache_hit("answers")
            return self._answers[question]
        metrics.record_cache_miss("answers")
        return None

    def put(self, question: str, answer: str) -> None:
        if len(answer) > self._longest:
            metrics.record_cache_size_rejection("answers")
            return
        if len(self._answers) >= self._entries:
            del self._answers[next(iter(self._answers))]
            metrics.record_cache_eviction("answers")
        self._answers[question] = answer


answers = AnswerCache(entries=2, longest=20)


def ask(question: str) -> str:
    answer = answers.get(question)
    if answer is None:
        answer = f"{question}: 42"
        answers.put(question, answer)
    return answer


def divide(text: str) -> str:
    return str(1 / int(text))


TOOLS: dict[str, Callable[[str], str]] = {"ask": ask, "divide": divide}


def execute(tool_name: str, argument: str) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        result = TOOLS[tool_name](argument)
    except Exception as error:
        latency_ms = (time.perf_counter() - started) * 1000
        metrics.record_tool_call(
            tool_name, success=False, latency_ms=latency_ms, error_type=type(error).__name__
        )
        return {"error": str(error)}
    latency_ms = (time.perf_counter() - started) * 1000
    metrics.record_tool_call(tool_name, success=True, latency_ms=latency_ms)
    return {"result": result}


for question in ("why", "why", "how", "who", "what is the meaning of life", "who"):
    execute("ask", question)
for text in ("2", "0", "none"):
    execute("divide", text)

found = metrics.get_all_metrics()
for name, tool in found["tool_metrics"].items():
    print(
        f"{name}: {tool['total_calls']} calls, {tool['success_rate']:.0f} % went well,"
        f" p95 {tool['p95_latency_ms']:.4f} ms, errors {tool['error_types']}"
    )
for name, cache in metrics.cache_metrics.items():
    print(f"{name}: {cache.get_stats()}")
print(f"{found['system_metrics']['total_requests']} requests")
