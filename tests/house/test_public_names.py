"""The public names: each is where it is said to be, completes in an editor, and is explained."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import metertap
from metertap.settings.address import Address
from metertap.settings.secret import Secret
from metertap.settings.settings import Settings
from metertap.settings.table import KEYWORDS, TABLE

ARGUMENTS = inspect.getdoc(metertap.instrument) or ""


def imported_for_types() -> dict[str, str]:
    """The names that `metertap/__init__.py` imports for type checkers, and their modules."""
    tree = ast.parse(Path(str(metertap.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def explained(keyword: str) -> str:
    """What `help(metertap.instrument)` says of a keyword."""
    found = re.search(rf"^    {keyword}: (.*(\n      +.*)*)", ARGUMENTS, re.M)
    return " ".join(found.group(1).split()) if found else ""


def test_type_checkers_and_programs_see_the_same_names() -> None:
    assert imported_for_types() == metertap._HOME
    assert sorted([*metertap._HOME, "__version__"]) == sorted(metertap.__all__)


@pytest.mark.parametrize("name", metertap.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(metertap, name) is not None


def test_dir_lists_the_public_names_and_nothing_else() -> None:
    assert dir(metertap) == sorted(metertap.__all__)


def test_instrument_has_a_keyword_for_each_setting() -> None:
    *given, unknown = inspect.signature(metertap.instrument).parameters.values()
    assert [item.name for item in given] == [*TABLE, "meter_provider"] == [*KEYWORDS]
    assert {item.kind for item in given} == {inspect.Parameter.KEYWORD_ONLY}
    assert {item.default for item in given} == {None}
    assert unknown.kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize("keyword", TABLE)
def test_help_says_what_a_keyword_is_its_default_and_its_variable(keyword: str) -> None:
    variable, parse = TABLE[keyword]
    text = explained(keyword)
    stated = re.search(rf"^\S.*\. Default:? (.+), {variable}\.$", text)
    assert stated, text
    default = Settings._field_defaults[keyword]
    if keyword == "service_name":  # it is worked out from the program
        assert stated.group(1) == "its own name"
    elif stated.group(1) in {"None", "()"}:
        assert default in (None, frozenset())
    else:
        assert parse(ast.literal_eval(stated.group(1))) == default


TAKEN_FOR = {Path: str | Path, frozenset[str]: Iterable[str], Address: str, Secret: str}
"""What a keyword takes whose setting has another type once it is parsed."""


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_has_the_type_that_its_setting_takes(keyword: str) -> None:
    from opentelemetry.metrics import MeterProvider

    hints = get_type_hints(
        metertap.instrument,
        {
            "MeterProvider": MeterProvider,
            "Tap": object,
            **vars(sys.modules["metertap.runtime.instrument"]),
        },
    )
    late = {"Address": Address, "Secret": Secret}
    kept = {"meter_provider": MeterProvider, **get_type_hints(Settings, localns=late)}[keyword]
    if type(None) in get_args(kept):
        kept = get_args(kept)[0]
    assert hints[keyword] == TAKEN_FOR.get(kept, kept) | None


def test_an_unknown_keyword_is_a_warning_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    tap = metertap.instrument(windowsize=5, json_endpoint=False)  # type: ignore[arg-type]
    assert tap.is_active
    (line,) = [item.getMessage() for item in caplog.records]
    assert "windowsize" in line
    assert "window_size" in line


def test_an_editor_completes_the_keywords(tmp_path: Path) -> None:
    """What a type checker reads: a wrong keyword is refused, a right one is not."""
    program = tmp_path / "program.py"
    program.write_text(
        "import metertap\n"
        "tap = metertap.instrument(window_size=5)\n"
        "p95 = tap.snapshot()['tool_metrics']['search']['p95_latency_ms']\n"
        "reveal_type(p95)\n"
        "metertap.instrument(windowsize=5)\n"
    )
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), program],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert 'Revealed type is "float | None"' in done.stdout, done.stdout + done.stderr
    assert re.findall(r"program\.py:(\d+): error", done.stdout) == ["5"]
