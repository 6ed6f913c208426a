"""The program's own handlers, by lines of the configuration file: lines that are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.settings import settings
from support.configured_shop import BY_ARGUMENT, configured, counted, measured, shop, swallow
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"toolshop.server" = {}', "a target is written"),
        ('"toolshop.server:run()" = {}', "a target is written"),
        ('"toolshop.server:run" = "function"', "a table is needed, such as"),
        ('"toolshop.server:run" = { nam = "function" }', "nam is no key; did you mean name?"),
        ('"toolshop.server:run" = { miss = "none" }', "miss is no key"),
        (
            '"toolshop.server:run" = { name = "run" }',
            "name = 'run' is unknown; did you mean const:run?; known: function, arg:PARAMETER, "
            "attr:ATTRIBUTE, const:TEXT",
        ),
        ('"toolshop.server:run" = { name = "args:tool" }', "did you mean arg?"),
        ('"toolshop.server:run" = { name = "functon" }', "did you mean function?"),
        ('"toolshop.server:run" = { name = "arg:" }', "name = 'arg:' is unknown"),
        ('"toolshop.server:run" = { name = "arg:a..b" }', "name = 'arg:a..b' is unknown"),
        ('"toolshop.server:run" = { name = "const: " }', "name = 'const: ' is unknown"),
        ('"toolshop.server:run" = { name = "" }', "name = '' is unknown"),
        ('"toolshop.server:run" = { name = 5 }', "name = 5 is unknown"),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "TOOLS" }',
            "known = 'TOOLS' is unknown; known: attr:ATTRIBUTE, global:NAME",
        ),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "globals:TOOLS" }',
            "did you mean global?",
        ),
        ('"toolshop.server:run" = { known = "global:TOOLS" }', "known is for names from arguments"),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "global:TOOL" }',
            "toolshop.server has no global TOOL; did you mean TOOLS?",
        ),
        (
            '"toolshop.server:run" = { name = "arg:tool_name", known = "attr:tools" }',
            "known = attr:… is for methods, and run is none",
        ),
        ('"toolshop.server:run" = { failed = "nothing" }', "failed = 'nothing' is unknown"),
        ('"toolshop.server:run" = { failed = "keys:error" }', "did you mean key?"),
        ('"toolshop.server:run" = { failed = "attr:a.b" }', "failed = 'attr:a.b' is unknown"),
        (
            '"toolshop.server:run" = { caller_errors = "UnknownMethod" }',
            "caller_errors = 'UnknownMethod' is no list of names of exceptions",
        ),
        ('"toolshop.server:run" = { caller_errors = [""] }', "is no list of names"),
        ('"toolshop.server:run" = { caller_errors = [5] }', "is no list of names"),
        (
            '"toolshop.server:run" = { name = "arg:tool_nam" }',
            "run has no parameter tool_nam; did you mean tool_name?",
        ),
        (
            '"toolshop.server:ToolServer.dispatch" = { name = "arg:self" }',
            "dispatch has no parameter self",
        ),
        (
            '"toolshop.server:ToolServer.keyword_only" = { name = "arg:args" }',
            "args of keyword_only is many arguments",
        ),
        (
            '"toolshop.server:ToolServer.static" = { name = "attr:tool" }',
            "name = attr:… is for methods, and static is none",
        ),
        (
            '"toolshop.server:ToolServer.stream" = { failed = "none" }',
            "failed is for results, and ToolServer.stream is a generator",
        ),
        ('"toolshop.server:nowhere" = {}', "toolshop.server:nowhere does not exist"),
        ('"toolshop.server:Nowhere.run" = {}', "toolshop.server:Nowhere.run does not exist"),
        ('"toolshop.server:LIMIT" = {}', "toolshop.server:LIMIT is no function"),
        ('"toolshop.server:LIMIT" = { name = "arg:x" }', "toolshop.server:LIMIT is no function"),
        ('"toolshop.server:ToolServer" = {}', "toolshop.server:ToolServer is no function"),
        (
            '"toolshop.server:ToolServer.size" = {}',
            "toolshop.server:ToolServer.size is no function",
        ),
        ('"__main__:nowhere" = {}', "what __main__ defines later is not seen"),
    ],
)
def test_a_line_that_is_wrong_is_one_warning_and_takes_no_other_with_it(
    line: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = '"toolshop.server:export" = {}'
    Path("pyproject.toml").write_text(f"[tool.metertap.tools]\n{line}\n{good}\n")
    with measured() as tap:
        module = shop()
        assert module.export() == "exported"
        assert module.run("x") == "x"
        assert module.server.size == 2
        assert counted() == {"export": 1}
        patches = _own_tools(tap)
        assert sorted(patch["state"] for patch in patches) == ["failed", "installed"]
        (problem,) = (patch["problem"] for patch in patches if patch["problem"])
    (warning,) = warnings_of(caplog)
    assert why in warning
    assert warning.startswith("[tool.metertap.tools] toolshop.") or "__main__" in warning
    assert warning.endswith("; it is ignored")
    assert why in problem
    assert faults.fault_counts() == {}
    assert module.LIMIT not in warning


def test_each_of_several_wrong_lines_is_told(caplog: pytest.LogCaptureFixture) -> None:
    configured({"nowhere": "{}", "run": '{ name = "arg:x" }', "export": '{ name = "x" }'})
    with measured():
        shop()
    assert len(warnings_of(caplog)) == 3


def _own_tools(tap: metertap.Tap) -> Any:
    report = json.loads(json.dumps(tap.diagnosis()))
    (item,) = (
        item for item in report["instrumentations"] if item["library"] == "[tool.metertap.tools]"
    )
    return item["patches"]


def test_a_line_of_a_module_that_is_not_imported_waits_under_its_own_name() -> None:
    configured({"run": BY_ARGUMENT})
    with measured() as tap:
        assert _own_tools(tap) == [
            {"module": "toolshop.server:run", "state": "waiting", "bound": [], "problem": None}
        ]
        assert "toolshop.server" not in sys.modules
        shop()
        (patch,) = _own_tools(tap)
        assert (patch["state"], patch["bound"]) == ("installed", ["toolshop.server:run"])


@pytest.mark.parametrize("text", ["[tool.metertap]\ntools = 5", "[[tool.metertap.tools]]\na = 1"])
def test_what_is_no_table_is_one_warning(text: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text(text)
    assert settings.read().tools == {}
    (warning,) = warnings_of(caplog)
    assert warning.startswith("tools in pyproject.toml=")
    assert warning.endswith("(a table is needed); {} is used instead")


MAIN = """
import metertap

def before():
    pass

held = {"before": before}
tap = metertap.instrument(json_endpoint=False)

def after():
    pass

before()
held["before"]()
after()
tools = metertap.get_all_metrics()["tool_metrics"]
print({name: item["total_calls"] for name, item in tools.items()})
"""


def test_of_main_what_is_defined_before_is_seen_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    Path("pyproject.toml").write_text(
        '[tool.metertap.tools]\n"__main__:before" = {}\n"__main__:after" = {}\n'
    )
    ran = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, check=True)
    assert ran.stdout == "{'before': 1}\n"
    assert ran.stderr.count("metertap: ") == 1
    assert "__main__:after does not exist yet" in ran.stderr


def test_nothing_of_arguments_or_results_is_in_the_document() -> None:
    marker = "m4rk3r"
    configured(
        {
            "ToolServer.dispatch": '{ name = "arg:tool_name", known = "attr:tools" }',
            "ToolServer.receive": '{ name = "arg:message.tool", failed = "key:error" }',
        }
    )
    with measured() as tap:
        server = shop().server
        server.dispatch("search", {"key": marker})
        server.dispatch(marker)
        swallow(server.dispatch, "search", ending=KeyError(marker))
        server.receive({"tool": "buy", "error": marker})
        server.receive({"tool": [marker]})
        with metertap.measure_tool(marker[:-1]):
            server.dispatch(marker[:-1])
        document = json.dumps([metertap.get_all_metrics()["tool_metrics"], tap.diagnosis()])
    assert marker not in document
