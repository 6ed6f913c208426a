"""One line of `[tool.metertap.tools]`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from metertap import faults
from metertap_instrumentation import lines
from metertap_instrumentation.lines import DOTTED, nearest, need, unknown

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
    """One line: how calls of a function are named, and which of them failed."""

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
        """The parts of the line that read values at each call, as written."""
        return " and ".join(":".join(read) for read in (self.name, self.known) if read is not None)

    @property
    def constant(self) -> str | None:
        """The name of all calls, if it is the same for all."""
        kind, text = self.name
        own = self.attribute.rpartition(".")[2]
        return {"const": text.strip(), "function": own}.get(kind)


def _word(
    given: Mapping[str, Any], key: str, forms: _Forms, words: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    """Return the value of `key`: a word and "", or both sides of a colon; None without one."""
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
