"""Chance is of generators of our own: programs seed that of `random`, and count on its numbers."""

from __future__ import annotations

import ast

from house.test_arrows import MODULES

OF_A_PROGRAM_OF_OURS = "metertap.cli.demo."
"""What the demo calls by chance runs in a process that has nothing of the user's."""


def takes_from_the_programs(module: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "random"
        and node.attr not in {"Random", "SystemRandom"}
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    )


def test_nobody_takes_from_the_generator_that_a_program_may_have_seeded() -> None:
    found = {module for module in MODULES if takes_from_the_programs(module)}
    assert not {module for module in found if not module.startswith(OF_A_PROGRAM_OF_OURS)}
    assert found  # those of the demo are seen
