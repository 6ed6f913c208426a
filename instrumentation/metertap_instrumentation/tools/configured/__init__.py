"""The program's own handlers, by lines of `[tool.metertap.tools]` in the configuration file.

    "shop.server:ToolServer.dispatch" = { name = "arg:tool_name" }
    "shop.server:ToolServer.call" = { name = "attr:current_tool" }
    "shop.jobs:reindex" = { name = "const:nightly" }
    "shop.jobs:export" = {}
    "shop.rpc:Rpc.handle" = { name = "arg:method", known = "attr:methods", failed = "key:error" }

A line names a function or a method, and each call of it is one call of a tool. `name` says of
which: an argument (`arg:message.tool` reaches into it, through keys and attributes), an attribute
of the object or class, a constant, or by default the `function`'s own name.

What is no text is no name, and its calls are those of `_OTHER`. So are, with `known`, those of
names that are not in the mapping or collection there: an attribute of the object (`attr:methods`)
or a global of the module (`global:METHODS`); when they fail it is the caller's fault. Give it where
clients choose the names. Without it a name is taken as it comes, up to the limit of series.

`caller_errors` are exceptions that are the caller's fault, by the name of the class or of one that
it derives from. `failed` says which results are failures that were handled: `none`, `false`,
`key:error` (a mapping in which that is true) or `attr:is_error` (an attribute that is true).

Generators, and coroutines and generators that a plain function returns, are measured to their end.

Not seen: a function that was imported by name from its module, or put into a table, before
`instrument()`; a method that a subclass overrides without calling it; what `__main__` defines after
`instrument()`, and a module that is run by `python -m`: to Python that is `__main__`. Of other
awaitables, tasks for instance, only the making is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from metertap import faults
from metertap.patching.patch_set import PatchSet, Target
from metertap_instrumentation import lines
from metertap_instrumentation.lines import DOTTED, nearest, need, unknown
from metertap_instrumentation.tools.configured import names
from metertap_instrumentation.tools.configured.calls import Calls, test_of
from metertap_instrumentation.tools.configured.wrappers import wrapper

TABLE = "[tool.metertap.tools]"

_NAMES = {
    "arg": (re.compile(r"[^\W\d]\w*(?:\.[^.\s]+)*"), "arg:PARAMETER"),
    "attr": (re.compile(DOTTED), "attr:ATTRIBUTE"),
    "const": (re.compile(r".*\S.*"), "const:TEXT"),
}
_KNOWN = {
    "attr": (re.compile(DOTTED), "attr:ATTRIBUTE"),
    "global": (re.compile(DOTTED), "global:NAME"),
}
_FAILED = {
    "key": (re.compile(r".*\S.*"), "key:NAME"),
    "attr": (re.compile(r"[^\W\d]\w*"), "attr:NAME"),
}
_CLASS = re.compile(DOTTED)
_Forms = Mapping[str, tuple[re.Pattern[str], str]]


class Line(lines.Line):
    """One line: how the calls of a function are named, and which of them failed."""

    table = TABLE
    keys = frozenset({"name", "known", "caller_errors", "failed"})
    example = '{ name = "arg:tool_name" }'

    def read(self, given: Mapping[str, Any]) -> None:
        self.name = _word(given, "name", _NAMES, ("function",)) or ("function", "")
        self.known = _word(given, "known", _KNOWN)
        self.failed = _word(given, "failed", _FAILED, ("none", "false"))
        self.caller_errors = _classes(given.get("caller_errors", []))
        need(
            self.known is None or self.name[0] in {"arg", "attr"},
            "known is for names from arguments and attributes",
        )

    @property
    def reads(self) -> str:
        """What is read at each call, as it was written."""
        return " and ".join(":".join(read) for read in (self.name, self.known) if read is not None)

    @property
    def constant(self) -> str | None:
        """The one name of all calls, where that is known before any."""
        kind, text = self.name
        own = self.attribute.rpartition(".")[2]
        return {"const": text.strip(), "function": own}.get(kind)


def _word(
    given: Mapping[str, Any], key: str, forms: _Forms, words: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    """What stands under `key`: a word and "", or the two sides of a colon; None if nothing."""
    if key not in given:
        return None
    value = given[key]
    head, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value in words:
        return head, ""
    if colon and head in forms and forms[head][0].fullmatch(rest):
        return head, rest
    hint = "" if head in forms else nearest(head, [*forms, *words])
    if not hint and not colon and head.strip() and "const" in forms:
        hint = f"; did you mean const:{head}?"
    raise unknown(key, value, (*words, *(form for _, form in forms.values())), hint)


def _classes(given: object) -> tuple[str, ...]:
    classes = given if isinstance(given, list) else [None]
    need(
        all(isinstance(name, str) and _CLASS.fullmatch(name) for name in classes),
        f"caller_errors = {faults.shown(given)} is no list of names of exceptions",
    )
    return tuple(classes)


class _Patch(lines.Patch):
    """One line's patch; how to measure is known once there is a function to look at."""

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._line = line

    def prepare(self, module: Any) -> None:
        line = self._line
        function = names.Function.find(module, line.attribute)
        need(
            line.failed is None or "generator" not in function.kind,
            f"failed is for results, and {line.attribute} is a generator",
        )
        slot_of = names.slot_of(line, function, module, names.Slots(line.target))
        calls = Calls(line.target, slot_of, line.caller_errors, test_of(line.failed))
        self.targets = [Target(line.attribute, wrapper(calls, function))]


class Configured(lines.Configured[Line]):
    """All of them."""

    line = Line

    def patches(self, lines: list[Line]) -> Iterable[PatchSet]:
        return map(_Patch, lines)


INSTRUMENTATION = Configured("configured", TABLE)
