"""What counting a model call does on the caller's path, by the functions of ours that it calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import metertap
import metertap_instrumentation
from costs.conftest import Asking
from metertap import state

OURS = tuple(str(Path(module.__file__).parent) for module in (metertap, metertap_instrumentation))


def calls_of_ours(asked: Callable[[], object]) -> int:
    """Functions of ours that one call of a model calls in this thread, and steps of generators."""
    found: list[str] = []

    def see(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else "")

    for _ in range(3):  # the first calls make series
        asked()
    before = sys.getprofile()
    sys.setprofile(see)
    try:
        asked()
    finally:
        sys.setprofile(before)
    return len(found)


def of_spans() -> int:
    """Functions that ask for the span of a call, as from the first one in the process on."""
    return 3 if state.recorder().sampled_context is not None else 0


def test_to_count_a_model_call_takes_two_dozen_functions(ask: Asking) -> None:
    with metertap.instrument(json_endpoint=False), metertap.measure_tool("asks"):
        # `python -m benchmarks model_calls` tells how long they take.
        found = calls_of_ours(ask)
        assert 15 < found < 27 + of_spans(), found


def test_an_item_of_a_stream_takes_one_step_of_a_generator(ask: Asking) -> None:
    with metertap.instrument(json_endpoint=False), metertap.measure_tool("asks"):
        found = []
        for items in (1, 11):
            ask.streams(items)
            found.append(calls_of_ours(lambda: list(ask(stream=True))))
        assert found[1] - found[0] == 10
        assert found[0] < 35 + of_spans()


def test_where_measuring_is_switched_off_nothing_of_ours_is_called(ask: Asking) -> None:
    with metertap.instrument(enabled=False):
        assert calls_of_ours(ask) == 0
    assert calls_of_ours(ask) == 0
