"""The mutants of one source file: cosmic-ray's operators, and three that it lacks."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator

# One replacement for each operator of the language: cosmic-ray's eleven others are killed by the
# same tests. `|` and `&` are left out, for they are unions of types nearly everywhere.
_OF_COSMIC_RAY = (
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Pow_Mul",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
)

_UNSEEN = re.compile(r"TYPE_CHECKING|slots=True|^\s*[*/],$")
"""Lines of which a change is seen by type checkers alone, or by nobody."""


class DeleteStatement(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """Delete a call, a change of an attribute or item, a `del` or a `raise` within a function."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]) and _in_function(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[0] = parso.parse(node.children[0].get_first_leaf().prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("def f():\n    go()\n", "def f():\n    pass\n"),)


class _Condition(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """What the conditions of `if`, `elif` and `a if b else c` have in common."""

    instead: str

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        for _, condition in self._conditions(node):
            yield condition.start_pos, condition.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        position, _ = list(self._conditions(node))[index]
        node.children[position] = parso.parse(f" {self.instead}")
        return node

    @staticmethod
    def _conditions(node: Any) -> Iterator[tuple[int, Any]]:
        if node.type == "if_stmt":
            for position, child in enumerate(node.children):
                if getattr(child, "value", None) in ("if", "elif"):
                    yield position + 1, node.children[position + 1]
        elif node.type in ("test", "ternary"):
            yield 2, node.children[2]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("if a:\n    b\n", f"if {cls.instead}:\n    b\n"),)


class ConditionAlwaysTrue(_Condition):
    """Take what a condition guards whatever it says."""

    instead = "True"


class ConditionAlwaysFalse(_Condition):
    """Never take what a condition guards."""

    instead = "False"


def _has_effect(statement: Any) -> bool:
    if statement.type in ("atom_expr", "power", "await"):
        return True
    if statement.type in ("del_stmt", "raise_stmt"):
        return True
    if statement.type != "expr_stmt":
        return False
    target, sign = statement.children[0], statement.children[1]
    # Without the assignment to a plain name, whatever reads it raises: nothing is learned.
    augmented = getattr(sign, "type", "") == "operator" and getattr(sign, "value", "=") != "="
    declared = sign.type == "annassign" and "=" not in sign.get_code()
    return augmented or (target.type != "name" and not declared)


def _in_function(node: Any) -> bool:
    while node is not None and node.type not in ("funcdef", "classdef"):
        node = node.parent
    return node is not None and node.type == "funcdef"


class Mutant(NamedTuple):
    """One change of one file."""

    line: int
    operator: str
    occurrence: int


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every change that one of the operators makes."""
    nodes = list(ast_nodes(get_ast(source)))
    lines = source.splitlines()
    for name, operator in _operators().items():
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                line = lines[start[0] - 1]
                # The `*` of `def f(self, *, a)` is no arithmetic.
                if not _UNSEEN.search(line) and not line.startswith("*,", start[1]):
                    yield Mutant(start[0], name, occurrence)
                occurrence += 1


def mutated(source: str, mutant: Mutant) -> str | None:
    """Return the changed text of the whole file; None where that is no program."""
    code: str | None = mutate_code(source, _operators()[mutant.operator], mutant.occurrence)
    if code is None or code == source:
        return None
    code = _as_long_as(source, code)
    return code if _compiles(code) else None


def _as_long_as(source: str, code: str) -> str:
    """Return `code` with empty lines behind its change, so that what follows stays in its place.

    The runner recognises functions by their lines; a change of a long statement has fewer.
    """
    old, new = source.splitlines(keepends=True), code.splitlines(keepends=True)
    backwards = enumerate(zip(reversed(old), reversed(new), strict=False))
    same = next((number for number, (one, other) in backwards if one != other), len(new))
    place = len(new) - same
    return "".join([*new[:place], *["\n"] * (len(old) - len(new)), *new[place:]])


@functools.lru_cache(maxsize=1)
def _operators() -> dict[str, Operator]:
    found = {name: get_operator(f"core/{name}")() for name in _OF_COSMIC_RAY}
    for own in (DeleteStatement, ConditionAlwaysTrue, ConditionAlwaysFalse):
        found[own.__name__] = own()
    return found


def _compiles(code: str) -> bool:
    # cosmic-ray takes the `**` of `{**one, **other}` and the `/` of a signature for arithmetic.
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True
