"""Threads are started in one place, which keeps the program's signals away from them."""

from __future__ import annotations

import ast

from house.test_arrows import MODULES

ELSEWHERE = {
    "metertap.signal_mask",
    "metertap.faults",  # it runs handlers of the program's, which may start processes
    "metertap.cli.client",
    "metertap.cli.demo.collector",
    "metertap.cli.demo.server",
}
STARTS = {"Thread", "Timer", "start_new_thread"}


def starts_threads(module: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in STARTS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"threading", "_thread"}
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    )


def test_every_thread_leaves_signals_to_those_of_the_program() -> None:
    assert {module for module in MODULES if starts_threads(module)} == ELSEWHERE
