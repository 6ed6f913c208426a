"""The tables once, for scripts and for terminals that can do less."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from metertap.cli import main
from metertap.install_command import install_command
from support import environments
from support.emulated_terminal import emulated
from support.programs import METERTAP, run
from support.watched import FAST, Measured, cells, top

pytestmark = pytest.mark.programs


@pytest.mark.parametrize(
    ("arguments", "env"),
    [((), {"TERM": "dumb"}), ((), {"TERM": None}), (("--once",), {}), ((), None)],
    ids=["dumb", "no TERM", "--once", "a pipe"],
)
def test_one_table_where_nothing_is_live(
    arguments: tuple[str, ...], env: dict[str, str | None] | None, asked: Measured
) -> None:
    asked.do("[record('search', True, 1.0) for _ in range(3)]")
    if env is None:
        ended = run(METERTAP, "top", *FAST, asked.url)
        assert (ended.status, ended.stderr) == (0, b"")
        out = ended.stdout.decode()
        assert "\x1b" not in out
    else:
        with top(asked.url, *arguments, env=env, columns=140) as terminal:
            assert terminal.ends() == 0
            out = terminal.text()
            assert b"\x1b[?1049h" not in terminal.written
    assert re.search(rf"shop {re.escape(asked.url)} up \d+ s · 0 calls/s", out)
    figures = ("0", "100", "1.00 ms", "≈1.00 ms", "≈1.00 ms", "0", "3", "–")
    assert cells(out, "search") == ["search", *figures]
    assert "looked up by" not in out  # nothing is unfolded


def test_without_rich_there_is_one_table_and_what_to_install(
    shop: Measured, tmp_path: Path
) -> None:
    python = environments.core(tmp_path / "core")
    with emulated(python, "-m", "metertap", "top", shop.url, columns=140) as terminal:
        assert terminal.ends() == 0
        assert "".join(install_command("cli").split()) in "".join(terminal.text().split())
        assert cells(terminal.text(), "first")


def test_json_has_the_documents_figures_and_rates(
    asked: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.do("[record('search', True, 1.0 / n) for n in range(1, 8)]")
    assert main(["top", *FAST, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["service"], found["pid"], found["url"]) == ("shop", asked.pid, asked.url)
    document = asked.document()
    tools: dict[str, Any] = {tool["name"]: tool for tool in found["tools"]}
    caches: dict[str, Any] = {cache["name"]: cache for cache in found["caches"]}
    assert tools["first"]["p95_latency_ms"] is None
    for name, tool in document["tool_metrics"].items():
        assert tools[name]["calls_per_second"] == 0.0
        assert {key: tools[name][key] for key in tool} == tool  # not rounded
        assert {key: tools[name]["details"][key] for key in tool} == tool
    by_cache = document["tool_metrics"]["price"]["with_cache"]
    assert tools["price"]["details"]["all_hit"] == by_cache["all_hit"]
    assert tools["price"]["details"]["missed"] == by_cache["missed"]
    for name, cache in document["cache_metrics"].items():
        assert {key: caches[name]["details"][key] for key in cache} == cache


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
