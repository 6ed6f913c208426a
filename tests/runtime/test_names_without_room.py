"""Public names that are first used while nothing can be imported: the program goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.programs import run

pytest.importorskip("resource", reason="limits descriptors")
pytestmark = [pytest.mark.faults, pytest.mark.programs]

START = """
import metertap, os, resource, sys

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held = []

def exhaust():
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass

def release():
    while held:
        os.close(held.pop())
"""
USE = """
def use():
    for name in metertap.__all__:
        getattr(metertap, name)
    @metertap.tool
    def search(text): return text
    assert search("a") == "a"
    with metertap.measure_tool("block"): pass
    metertap.record_tool_call("by_hand", 0.1)
    metertap.record_cache_hit("prompts")
    metertap.cache_meter("answers").hit()
    metertap.record_usage(model="shop-1", provider="openai", input_tokens=3)
    metertap.get_collector().is_enabled()
    return metertap.get_all_metrics()
"""
TOOLS = ["block", "by_hand", "search"]


def said(code: str, tmp_path: Path) -> str:
    env = {"METRICS_JSON_PORT": "0", "METERTAP_ANNOUNCE": "false"}
    return run(sys.executable, "-c", code, cwd=tmp_path, env=env).stdout.decode()


@pytest.mark.parametrize("before", ["", "metertap.instrument()\n"])
def test_descriptors_that_run_out_cost_records_and_not_the_program(
    before: str, tmp_path: Path
) -> None:
    code = (
        f"{START}{USE}{before}exhaust()\nuse()\nrelease()\nmetertap.instrument()\n"
        "found = use()\nprint(sorted(found['tool_metrics']))\nmetertap.uninstrument()"
    )
    assert said(code, tmp_path) == f"{TOOLS}\n"


def test_a_name_first_used_at_the_recursion_limit_is_there_later(tmp_path: Path) -> None:
    code = """
import metertap, sys
sys.setrecursionlimit(200)

def deep():
    try:
        deep()
    except RecursionError:
        raise
    finally:
        metertap.record_tool_call

try:
    deep()
except RecursionError:
    pass
sys.setrecursionlimit(1000)
metertap.instrument()
metertap.record_tool_call("by_hand", 0.1)
print(sorted(metertap.get_all_metrics()["tool_metrics"]))
"""
    assert said(code, tmp_path) == "['by_hand']\n"


def test_a_time_limit_that_ends_during_the_first_use_reaches_the_program(tmp_path: Path) -> None:
    code = """
import metertap, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "metertap.measuring.by_hand":
            signal.raise_signal(signal.SIGUSR1)

def late(number, frame):
    raise TimeoutError("too late")

signal.signal(signal.SIGUSR1, late)
sys.meta_path.insert(0, Finder())
try:
    metertap.tool
except TimeoutError as error:
    print(error)
sys.meta_path.pop(0)
print(metertap.tool.__module__)
"""
    assert said(code, tmp_path) == "too late\nmetertap.measuring.by_hand\n"
