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
        (isinstance(node, ast.Call) and is_start(node.func))
        or (isinstance(node, ast.Attribute) and node.attr == "start_new_thread")
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    )


def is_start(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "PlainThread"
    return (
        isinstance(function, ast.Attribute)
        and function.attr in STARTS
        and isinstance(function.value, ast.Name)
        and function.value.id in {"threading", "_thread"}
    )


def test_every_thread_leaves_signals_to_those_of_the_program() -> None:
    assert {module for module in MODULES if starts_threads(module)} == ELSEWHERE
