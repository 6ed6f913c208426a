"""The program's own handlers, by lines of `[tool.metertap.tools]` in the configuration file.

    "shop.server:ToolServer.dispatch" = { name = "arg:tool_name" }
    "shop.server:ToolServer.call" = { name = "attr:current_tool" }
    "shop.jobs:reindex" = { name = "const:nightly" }
    "shop.jobs:export" = {}
    "shop.rpc:Rpc.handle" = { name = "arg:method", known = "attr:methods", failed = "key:error" }

A line names a function or a method, and each call of it is one call of a tool. `name` tells which:
an argument (`arg:message.tool` follows keys and attributes in it), an attribute of the object or
class, a constant, or by default the `function`'s own name.

A value that is no text is no name: such calls count as `_OTHER`. So do, with `known`, calls of
names that are not in that mapping or collection: an attribute of the object (`attr:methods`) or a
global of the module (`global:METHODS`); their failures are the caller's fault. Give it if clients
choose the names. Without it, the first 50 values of an argument become names and the others are
`_OTHER`, since an argument may contain anything.

`caller_errors` are exceptions that are the caller's fault, by the name of their class or of one
that it inherits. `failed` says which results are handled failures: `none`, `false`, `key:error` (a
mapping in which that is true) or `attr:is_error` (an attribute that is true).

Generators, and coroutines and generators that a plain function returns, are measured to their end.

Not seen: a function that was imported by name, or put into a table, before `instrument()`; a method
that a subclass overrides without calling it; definitions in `__main__` after `instrument()`, and in
a module that is run by `python -m`, which is `__main__` to Python. Of other awaitables, such as
tasks, only their making is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metertap.patching.patch_set import PatchSet
from metertap_instrumentation import lines
from metertap_instrumentation.lines import need
from metertap_instrumentation.tools.configured import names
from metertap_instrumentation.tools.configured.line import TABLE, Line
from metertap_instrumentation.tools.configured.wrappers import Calls, target, test_of


class _Patch(lines.Patch):
    """One line's patch; how to measure is decided when the function is found."""

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
        slots = names.Slots(line.target)
        slot_of = names.slot_of(line, function, module, slots)
        calls = Calls(line.target, slot_of, slots, line.caller_errors, test_of(line.failed))
        is_plain = not line.caller_errors and line.failed is None
        one_tool = line.constant if is_plain else None
        self.targets = [target(line.attribute, calls, function, one_tool)]


class Configured(lines.Configured[Line]):
    """The lines of `[tool.metertap.tools]`."""

    line = Line

    def patches(self, lines: list[Line]) -> Iterable[PatchSet]:
        return map(_Patch, lines)


INSTRUMENTATION = Configured("configured", TABLE)
