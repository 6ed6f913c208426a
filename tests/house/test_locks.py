"""Locks are made in one place, which frees them in a forked child: none is forgotten."""

from __future__ import annotations

import ast

from house.test_arrows import MODULES

MAKERS = {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"}
# Programs of the command line, which do not fork, and what lives shorter than one call.
ELSEWHERE = {
    "metertap.locks",
    "metertap.cli.client",
    "metertap.cli.demo.collector",
    "metertap.cli.top.poller",
    "metertap.patching.installed",  # a switch that is never waited for
}


def makes_locks(module: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in MAKERS
        and isinstance(node.value, ast.Name)
        and node.value.id in {"threading", "_thread", "multiprocessing"}
        and not isinstance(node.ctx, ast.Store)
        for call in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(call, (ast.Call, ast.keyword))
        for node in [call.func if isinstance(call, ast.Call) else call.value]
    )


def test_every_lock_is_one_that_a_fork_renews() -> None:
    assert {module for module in MODULES if makes_locks(module)} == ELSEWHERE
