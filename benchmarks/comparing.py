"""Results as a file, and what became worse between two of them."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.measuring import Ratio, Result


class Unreadable(Exception):
    """A file does not hold results; the text says which, and what is wrong."""


def keep(results: Sequence[Result], file: Path) -> None:
    """Write `results`, with what they were measured on."""
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "opentelemetry-sdk": metadata.version("opentelemetry-sdk"),
        "metertap": metadata.version("metertap"),
        "results": [dataclasses.asdict(item) for item in results],
    }
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def kept(file: Path) -> list[Result]:
    """What `keep` wrote. Raises Unreadable."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return [_result(item) for item in document["results"]]
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Unreadable(f"{file} holds no results that --json wrote ({reason})") from None


def _result(item: dict[str, object]) -> Result:
    fields = {
        field.name: item[field.name]
        for field in dataclasses.fields(Result)
        if field.name in item or field.default is dataclasses.MISSING
    }
    ratio = {name: float(value) for name, value in dict(item["ratio"]).items()}  # type: ignore[call-overload]
    return Result(**{**fields, "ratio": Ratio(**ratio)})  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Rows that became worse, and rows of only one side, each as a line."""

    worse: Sequence[str]
    new: Sequence[str]
    gone: Sequence[str]


def compare(results: Sequence[Result], before: Sequence[Result], slack: float) -> Comparison:
    """A row is worse if it and its lower bound are above the median that was, by `slack` of that.

    Where measuring adds nothing, a median may be negative. Where the ratio is one of quartiles, its
    bounds are those of minima and medians, and both may lie above it.
    """
    now, past = _by_name(results), _by_name(before)
    return Comparison(
        worse=[
            f"{name}: {past[name].median:.3f} before, {ratio.median:.3f} now"
            for name, ratio in now.items()
            if name in past
            and min(ratio.low, ratio.median) > past[name].median + abs(past[name].median) * slack
        ],
        new=[name for name in now if name not in past],
        gone=[name for name in past if name not in now],
    )


def _by_name(results: Sequence[Result]) -> dict[str, Ratio]:
    return {f"{item.row} / {item.against}": item.ratio for item in results}
