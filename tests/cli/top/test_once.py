"""The tables once, for scripts and for terminals that can do less."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from metertap.cli import main
from support import environments
from support.programs import METERTAP, run

pytest.importorskip("rich", reason="the live view needs rich")
pytest.importorskip("pyte", reason="a terminal emulator shows what is on the screen")

import pytest

from support.emulated_terminal import emulated
from support.watched import FAST, Measured, cells, top

pytest.importorskip("rich", reason="the live view needs rich")
pytest.importorskip("pyte", reason="a terminal emulator shows what is on the screen")


def _live(shop: Measured, *arguments: str, **options: Any) -> Any:
    return top(shop.url, *arguments, **options)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": None}, {}])
def test_one_table_where_nothing_can_be_live(env: dict[str, str | None], shop: Measured) -> None:
    shop.do("[record('search', True, 1.0) for _ in range(3)]")
    if env:
        with _live(shop, env=env, columns=140) as terminal:
            assert terminal.ends() == 0
            out = terminal.text()
            assert b"\x1b[?1049h" not in terminal.written
    else:
        ended = run(METERTAP, "top", *FAST, shop.url)
        assert (ended.status, ended.stderr) == (0, b"")
        out = ended.stdout.decode()
        assert "\x1b" not in out
    assert re.search(rf"shop {re.escape(shop.url)} up \d+ s · 0 calls/s", out)
    assert cells(out, "search") == [
        "search",
        "0",
        "100",
        "1.00 ms",
        "≈1.00 ms",
        "≈1.00 ms",
        "0",
        "3",
        "–",
    ]


def test_once_in_a_terminal_is_one_table(shop: Measured) -> None:
    with _live(shop, "--once", columns=140) as terminal:
        assert terminal.ends() == 0
        assert cells(terminal.text(), "first")
        assert b"\x1b[?1049h" not in terminal.written


def test_without_rich_there_is_one_table_and_what_to_install(
    shop: Measured, tmp_path: Path
) -> None:
    python = environments.core(tmp_path / "core")
    with emulated(python, "-m", "metertap", "top", shop.url, columns=140) as terminal:
        assert terminal.ends() == 0
        assert "pip install 'metertap[cli]'" in terminal.text()
        assert cells(terminal.text(), "first")


def test_json_has_figures_that_are_not_rounded(
    shop: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.do("[record('search', True, 1.0 / n) for n in range(1, 8)]")
    assert main(["top", *FAST, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    document = shop.document()
    assert (found["service"], found["pid"], found["url"]) == ("shop", shop.pid, shop.url)
    tools = {tool["name"]: tool for tool in found["tools"]}
    assert tools["search"]["p95_latency_ms"] == document["tool_metrics"]["search"]["p95_latency_ms"]
    assert tools["search"]["calls_per_second"] == 0.0
    assert tools["first"]["p95_latency_ms"] is None


def test_once_nobody_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 1
    assert "no measured process" in capsys.readouterr().err
    assert main(["top", "127.0.0.1:1", "a b"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 2)
    assert "Connection refused" in err


def test_a_directory_that_is_none_is_said(shop: Measured) -> None:
    runtime = {"XDG_RUNTIME_DIR": str(Path(os.environ["XDG_RUNTIME_DIR"], "other"))}
    Path(runtime["XDG_RUNTIME_DIR"]).mkdir()
    Path(runtime["XDG_RUNTIME_DIR"], "metertap").write_text("a file")
    with top(columns=200, env=runtime) as terminal:
        terminal.shows(lambda text: "is not this user's directory" in text)
    ended = run(METERTAP, "top", env=runtime)
    assert (ended.status, ended.told.count("\n")) == (1, 1)
    with top(shop.url, columns=140, env=runtime) as terminal:  # an address needs none
        terminal.shows(lambda text: "first" in text)


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "x"])
def test_an_interval_that_is_none_is_a_wrong_command_line(interval: str) -> None:
    assert run(METERTAP, "top", f"--interval={interval}").status == 2


def test_json_has_the_details_of_the_document(
    asked: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", *FAST, "--json", asked.url]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    document = asked.document()
    caches: dict[str, Any] = {cache["name"]: cache for cache in found["caches"]}
    tools: dict[str, Any] = {tool["name"]: tool for tool in found["tools"]}
    of_cache = document["cache_metrics"]["prices"]
    assert caches["prices"]["details"]["by_tool"] == of_cache["by_tool"]
    of_tool = document["tool_metrics"]["price"]
    assert tools["price"]["details"]["all_hit"] == of_tool["with_cache"]["all_hit"]
    assert tools["price"]["details"]["outcomes"] == of_tool["outcomes"]


def test_once_unfolds_nothing(asked: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *FAST, "--once", asked.url]) == 0
    assert "looked up by" not in capsys.readouterr().out
