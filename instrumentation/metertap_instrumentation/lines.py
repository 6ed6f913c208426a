"""Lines of the configuration file: a target, and a table that says how to measure it.

    "shop.server:ToolServer.dispatch" = { name = "arg:tool_name" }

Each line is read and patched by itself: a wrong one does not affect the others. What is wrong with
it is one warning, and a line of `metertap doctor`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar

from metertap import faults, parsing
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import Library

DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_TARGET = re.compile(rf"({DOTTED}):({DOTTED})")


class Line:
    """One valid line. Raises `ValueError`, which says what is wrong, for another one."""

    table: str
    keys: frozenset[str]
    example: str

    def __init__(self, target: str, given: object) -> None:
        found = _TARGET.fullmatch(target)
        if found is None:
            raise ValueError('a target is written "module:function" or "module:Class.method"')
        self.target = target
        self.module, self.attribute = found.groups()
        self.owner = self.attribute.rpartition(".")[0]
        if not isinstance(given, Mapping):
            raise ValueError(f"a table is needed, such as {self.example}")
        for key in sorted(given.keys() - self.keys):
            raise ValueError(f"{key} is no key{nearest(key, self.keys)}")
        self.read(given)

    def read(self, given: Mapping[str, Any]) -> None:
        """Take the values of the table, whose keys are known ones."""
        raise NotImplementedError


def need(holds: bool, otherwise: str) -> None:
    """Raise a `ValueError` with the text `otherwise`, unless the condition holds."""
    if not holds:
        raise ValueError(otherwise)


def unknown(key: str, given: object, known: Iterable[str], hint: str = "") -> ValueError:
    """Return an error that lists the allowed values in place of `given`."""
    return ValueError(f"{key} = {faults.shown(given)} is unknown{hint}; known: {', '.join(known)}")


def nearest(word: str, words: Collection[str]) -> str:
    """Write the end of an error message that suggests the one of `words` most like `word`."""
    return parsing.did_you_mean(parsing.nearest(word, words))


def is_a(error: BaseException, name: str) -> bool:
    """Return whether `error` is of a class with that name: short, qualified, or with its module."""
    return any(
        name in {kind.__name__, kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"}
        for kind in type(error).__mro__
    )


class Patch(PatchSet):
    """The patch of one line."""

    def __init__(self, line: Line, targets: Iterable[Target] = ()) -> None:
        super().__init__(line.module, tuple(targets), name=line.target)
        self._table = line.table

    def tell(self, error: Exception) -> None:
        """Warn that the line does not fit the program, which is no fault of metertap's."""
        _tell(self._table, self.name, f"{self.name}: {self.problem}")


class _Unusable(PatchSet):
    """A line that is not valid: it patches nothing, and reports why."""

    def __init__(self, table: str, target: str, why: str) -> None:
        super().__init__(target.partition(":")[0], (), name=target)
        self._table = table
        self._why = why

    def install(self) -> None:
        self.status, self.problem = "failed", f"{self.name}: {self._why}"
        _tell(self._table, self.name, self.problem)


def _tell(table: str, target: str, problem: str) -> None:
    """Warn of a line once."""
    faults.warn_once(f"{table} {target}", "%s %s; it is ignored", table, problem)


L = TypeVar("L", bound=Line)


class Configured(Instrumentation, Generic[L]):
    """All lines of one table of the configuration file."""

    line: type[L]

    def __init__(self, name: str, table: str) -> None:
        super().__init__(Library("", name, "", table, "", ""), lambda _version: ())
        self.version = ""

    def configure(self, given: Mapping[str, Any]) -> None:
        """Put these lines in force, in place of the former ones."""
        self.uninstall()
        unusable: list[PatchSet] = []
        lines: list[L] = []
        for target, table in given.items():
            try:
                lines.append(self.line(target, table))
            except ValueError as error:
                shown = faults.shown(target, str)
                unusable.append(_Unusable(self.distribution, shown, str(error)))
        self.patch_sets = [*unusable, *self.patches(lines)]

    def patches(self, lines: list[L]) -> Iterable[PatchSet]:
        """Return the patch sets, one for each valid line."""
        raise NotImplementedError

    def install(self) -> None:
        """Patch modules that are imported now, and others when they are imported."""
        self.switched_off = False
        for patch_set in self.patch_sets:
            patch_set.install()
