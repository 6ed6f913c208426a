"""Metric families as text, in the plain format and as OpenMetrics.

The text of a series' labels is kept from one scrape to the next, since writing labels is most of
the work and they never change; so are the lines of series that are the same objects as before. The
text equals that of `prometheus_client`, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from opentelemetry.exporter.prometheus._mapping import sanitize_attribute

from metertap import faults
from metertap.labels import encodable
from metertap_exporters.exposition.families import (
    Distribution,
    Exemplar,
    Family,
    Group,
    Labels,
    Quantiles,
    Series,
)

_LINES = 150
"""Lines that are written before others may run: about a third of a millisecond."""
_EXACT_INTEGERS = 1_000_000
"""Whole numbers below this are written without an exponent."""
_label_name = lru_cache(maxsize=1000)(sanitize_attribute)


class LabelText(NamedTuple):
    """The text of one series' labels: before and after `le` or `quantile`, and as a whole."""

    labels: Labels
    before: str
    after: str
    whole: str


@dataclass(slots=True)
class _KeptGroup:
    """The text of a group's labels, by identity; for kept series, by index."""

    constant: Labels
    labels: dict[int, LabelText] = field(default_factory=dict)
    is_openmetrics: bool = False
    series: list[Series | None] = field(default_factory=list)
    texts: list[LabelText | None] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """The lines of each series as one text."""


class _Kept(NamedTuple):
    """The text of a family's labels, valid while the same label names are in use."""

    names: frozenset[str]
    groups: list[_KeptGroup]


class Exposition:
    """A writer that keeps the text of labels. For one thread at a time."""

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    def text(self, families: Iterable[Family], *, is_openmetrics: bool) -> bytes:
        """Write the families, with a pause after every few hundred lines."""
        before, self._kept = self._kept, {}
        parts: list[bytes] = []
        lines: list[str] = []
        for family in families:
            with faults.guarded("prometheus.family"):  # a fault leaves out the rest of this family
                lines += _head(family, is_openmetrics)
                for written in self._lines(family, before, is_openmetrics):
                    lines += written
                    if len(lines) >= _LINES:
                        parts.append("".join(lines).encode())
                        lines.clear()
                        self._pause()
        if is_openmetrics:
            lines.append("# EOF\n")
        parts.append("".join(lines).encode())
        return b"".join(parts)

    def _lines(
        self, family: Family, before: dict[tuple[str, str, str], _Kept], is_openmetrics: bool
    ) -> Iterator[Sequence[str]]:
        """Write one series after the other."""
        names = frozenset().union(*(group.names.union(group.constant) for group in family.groups))
        key = (family.name, family.kind, family.description)
        kept = before.get(key)
        is_known = kept is not None and kept.names == names
        self._kept[key] = now = _Kept(names, [])
        columns = sorted({_label_name(name) for name in names})
        extra = {"histogram": "le", "summary": "quantile"}.get(family.kind)
        write = _WRITERS[family.kind]
        for number, group in enumerate(family.groups):
            constant = group.constant
            known = _KeptGroup(constant)
            if is_known and kept is not None and number < len(kept.groups):
                found = kept.groups[number]
                known = found if found.constant == constant else known

            def label_text(labels: Labels, constant: Labels = constant) -> LabelText:
                return _label_text(labels, constant, columns, extra)

            if group.is_kept:
                now.groups.append(known)
                yield from _kept_lines(family, group, known, label_text, is_openmetrics)
                continue
            texts: dict[int, LabelText] = {}
            now.groups.append(_KeptGroup(constant, texts))
            for series in group.series:
                labels = series.labels
                text = known.labels.get(id(labels))
                if text is None or text.labels is not labels:
                    text = label_text(labels)
                texts[id(labels)] = text
                yield write(family.name, text, series, is_openmetrics)


def _kept_lines(
    family: Family,
    group: Group,
    known: _KeptGroup,
    label_text: Callable[[Labels], LabelText],
    is_openmetrics: bool,
) -> Iterator[Sequence[str]]:
    """Yield the series, of which those that are new objects are written, and their text kept."""
    series, write = [*group.series], _WRITERS[family.kind]
    if len(known.series) != len(series) or known.is_openmetrics is not is_openmetrics:
        count = len(series)
        known.series, known.texts, known.lines = [None] * count, [None] * count, [""] * count
        known.is_openmetrics = is_openmetrics
    before, texts, lines = known.series, known.texts, known.lines
    for place, (one, kept) in enumerate(zip(series, [*before], strict=True)):
        if one is not kept:
            text = texts[place]
            if text is None or text.labels is not one.labels:
                text = texts[place] = label_text(one.labels)
            lines[place] = "".join(write(family.name, text, one, is_openmetrics))
            before[place] = one
        yield lines[place : place + 1]


def _label_text(
    labels: Labels, constant: Labels, columns: Sequence[str], extra: str | None
) -> LabelText:
    """Return the text of labels, which the label `extra` of a bucket or quantile divides.

    Where the application has an attribute of that name, those have only the label: with both, a
    scraper would refuse everything.
    """
    values = {_label_name(name): value for name, value in {**constant, **labels}.items()}
    written = {name: f'{name}="{_escaped(_label_value(values.get(name, "")))}"' for name in columns}
    return LabelText(
        labels,
        "".join(f"{text}," for name, text in written.items() if extra and name < extra),
        "".join(f",{text}" for name, text in written.items() if not extra or name > extra),
        f"{{{','.join(written.values())}}}" if written else "",
    )


def _label_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _escaped(value: str) -> str:
    # An attribute of the application may contain characters that would break the whole text.
    return encodable(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _head(family: Family, is_openmetrics: bool) -> list[str]:
    name, kind, description = family.name, family.kind, family.description
    if is_openmetrics:
        lines = [f"# HELP {name} {_escaped(description)}\n", f"# TYPE {name} {kind}\n"]
        return [*lines, f"# UNIT {name} {family.unit}\n"] if family.unit else lines
    if kind == "counter":
        name += "_total"
    elif kind == "info":
        name, kind = f"{name}_info", "gauge"
    description = description.replace("\\", r"\\").replace("\n", r"\n")
    return [f"# HELP {name} {description}\n", f"# TYPE {name} {kind}\n"]


def _number(value: float) -> str:
    if type(value) is int and 0 <= value < _EXACT_INTEGERS:
        return f"{value}.0"
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    text = repr(number)
    point = text.find(".")
    if number > 0 and point > 6:  # where Go writes an exponent, and Python does not yet
        mantissa = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{point - 1:02d}"
    return text


def _exemplar(exemplar: Exemplar | None, is_openmetrics: bool) -> str:
    if exemplar is None or not is_openmetrics:
        return ""
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in exemplar.labels)
    return f" # {{{labels}}} {_number(exemplar.value)} {exemplar.timestamp}"


def _counter(name: str, text: LabelText, series: Series, is_openmetrics: bool) -> Sequence[str]:
    exemplar = _exemplar(series.exemplar, is_openmetrics)
    return (f"{name}_total{text.whole} {_number(series.value)}{exemplar}\n",)


def _gauge(name: str, text: LabelText, series: Series, _is_openmetrics: bool) -> Sequence[str]:
    return (f"{name}{text.whole} {_number(series.value)}\n",)


def _info(name: str, text: LabelText, series: Series, _is_openmetrics: bool) -> Sequence[str]:
    return (f"{name}_info{text.whole} {_number(series.value)}\n",)


def _summary(name: str, text: LabelText, series: Series, _is_openmetrics: bool) -> Sequence[str]:
    value: Quantiles = series.value
    lines = [
        f'{name}{{{text.before}quantile="{quantile}"{text.after}}} {_number(known)}\n'
        for quantile, known in value.known
    ]
    if value.calls is not None:
        lines.append(f"{name}_count{text.whole} {_number(value.calls)}\n")
        lines.append(f"{name}_sum{text.whole} {_number(value.total)}\n")
    return lines


def _histogram(name: str, text: LabelText, series: Series, is_openmetrics: bool) -> Sequence[str]:
    value: Distribution = series.value
    start, end = f"{name}_bucket{{{text.before}", f"{text.after}}} "
    buckets = zip(_upper_bounds(tuple(value.bounds)), accumulate(value.counts), strict=False)
    exemplars = value.exemplars if is_openmetrics else {}
    count = sum(value.counts)
    if not exemplars and count < _EXACT_INTEGERS:
        lines = [f"{start}{bound}{end}{below}.0\n" for bound, below in buckets]
    else:
        lines = [
            f"{start}{bound}{end}{_number(below)}{_exemplar(exemplars.get(place), True)}\n"
            for place, (bound, below) in enumerate(buckets)
        ]
    # The sum of values that may be negative is no counter, as a sum has to be.
    if value.total is not None and (not value.bounds or value.bounds[0] >= 0):
        lines.append(f"{name}_count{text.whole} {_number(count)}\n")
        lines.append(f"{name}_sum{text.whole} {_number(value.total)}\n")
    return lines


@lru_cache(maxsize=100)
def _upper_bounds(bounds: tuple[float, ...]) -> list[str]:
    return [f'le="{bound}"' for bound in (*bounds, "+Inf")]


_WRITERS: dict[str, Callable[[str, LabelText, Series, bool], Sequence[str]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "histogram": _histogram,
    "info": _info,
    "summary": _summary,
}


def only(text: bytes, names: frozenset[str]) -> bytes:
    """Return only the samples of these names, with the heads of their families."""
    kept: list[bytes] = []
    head: list[bytes] = []
    wanted = {name.encode() for name in names}
    for line in text.splitlines(keepends=True):
        if line.startswith(b"# EOF"):
            kept.append(line)
        elif line.startswith(b"#"):
            head = [line] if line.startswith(b"# HELP") else [*head, line]
        elif line.partition(b" ")[0].partition(b"{")[0] in wanted:
            kept += [*head, line]
            head = []
    return b"".join(kept)
