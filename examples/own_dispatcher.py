"""A dispatcher that metertap does not know, such as a WebSocket loop, measured by added lines."""

import metertap

tap = metertap.instrument()
answers: dict[str, str] = {}
answer_cache = metertap.cache_meter("answers")


@metertap.tool  # a handler of its own: sync, async or generator
def shout(text: str) -> str:
    return text.upper()


def ask(question: str) -> str:
    if question in answers:
        answer_cache.hit()
    else:
        answer_cache.miss()
        answers[question] = f"{question}: 42"
    return answers[question]


HANDLERS = {"ask": ask, "reverse": lambda text: text[::-1]}


def dispatch(message: dict[str, str]) -> str:
    with metertap.measure_tool(message["tool"]):  # measures the block as one call of this tool
        return HANDLERS[message["tool"]](message["text"])


for text in ("why", "how", "why", "why"):
    dispatch({"tool": "ask", "text": text})
dispatch({"tool": "reverse", "text": "tap"})
shout("done")
metertap.record_tool_call("nightly_import", success=True, latency_ms=5210.5)  # timed by the program

document = tap.snapshot()
for name, figures in document["tool_metrics"].items():
    print(f"{name}: {figures['total_calls']} calls, p50 {figures['p50_latency_ms']} ms")
hit_rate = document["cache_metrics"]["answers"]["hit_rate"]
print(f"answers: {hit_rate:.0f} % hits, by tool {document['cache_metrics']['answers']['by_tool']}")
