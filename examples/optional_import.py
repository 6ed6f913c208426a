"""A program that is measured if metertap is installed, and also runs without it."""

import time
from typing import Any

try:
    from metertap import get_all_metrics, record_cache_hit, record_cache_miss, record_tool_call
except ImportError:

    def _nothing(*_args: Any, **_kwargs: Any) -> None:
        """Replace the functions that record, and do nothing."""

    record_tool_call = record_cache_hit = record_cache_miss = _nothing

    def get_all_metrics() -> dict[str, Any]:
        return {"enabled": False, "tool_metrics": {}, "cache_metrics": {}, "system_metrics": {}}


squares: dict[int, int] = {}


def square(number: int) -> int:
    if number in squares:
        record_cache_hit("squares")
    else:
        record_cache_miss("squares")
        squares[number] = number * number
    return squares[number]


for number in (3, 4, 3):
    started = time.perf_counter()
    result = square(number)
    record_tool_call("square", success=True, latency_ms=(time.perf_counter() - started) * 1000)
    print(result)

document = get_all_metrics()
for name, tool in document["tool_metrics"].items():
    print(f"{name}: {tool['successful_calls']} of {tool['total_calls']} calls went well")
for name, cache in document["cache_metrics"].items():
    print(f"{name}: {cache['hits']} hits, {cache['misses']} misses")
