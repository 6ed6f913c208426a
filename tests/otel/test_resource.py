"""What a program is called without anybody saying so: each in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from metertap._version import __version__
from support.programs import executable, run

pytestmark = [pytest.mark.sdk, pytest.mark.programs]

SHOW = """
import json, metertap
with metertap.instrument() as tap:
    print(json.dumps(tap.snapshot()["service"]))
"""


def _service(*command: str, cwd: Path, **env: str) -> dict[str, str]:
    done = run(*command, cwd=cwd, env=env)
    assert done.status == 0, done.told
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a package, a module and files that show how they are called."""
    folder = tmp_path / "corner-shop"
    package = folder / "till"
    package.mkdir(parents=True)
    for path in ("till/__init__.py", "prices.py"):
        (folder / path).write_text("")
    for path in ("till/__main__.py", "till/desk.py", "import_prices.py", "server.py"):
        (folder / path).write_text(SHOW)
    return folder


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["import_prices.py"], "import_prices"),
        (["server.py"], "corner-shop-server"),  # "server" alone would say nothing
        (["-m", "till"], "till"),
        (["-m", "till.desk"], "till.desk"),
        (["-um", "till"], "till"),
        (["-X", "utf8", "-W", "ignore", "import_prices.py", "--port", "1"], "import_prices"),
        (["till/__main__.py"], "till"),
    ],
)
def test_a_program_is_called_by_its_file_or_module(
    shop: Path, arguments: list[str], name: str
) -> None:
    assert _service(sys.executable, *arguments, cwd=shop)["name"] == name


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["till.desk:app"], "till.desk"),
        (["--port", "8000", "till.desk:app"], "till.desk"),
        (["run", "import_prices.py"], "import_prices"),
    ],
)
def test_what_a_launcher_launches_gives_the_name(
    shop: Path, arguments: list[str], name: str
) -> None:
    for launcher in ("uvicorn", "fastmcp"):
        script = executable(shop / "bin" / launcher, f"#!{sys.executable}\n{SHOW}")
        assert _service(str(script), *arguments, cwd=shop)["name"] == name


def test_code_on_the_command_line_is_called_after_python(tmp_path: Path) -> None:
    name = _service(sys.executable, "-c", SHOW, cwd=tmp_path)["name"]
    assert name.startswith("python")


def test_a_console_script_has_the_version_of_its_distribution(tmp_path: Path) -> None:
    # `metertap` is a console script that is certainly installed here.
    script = executable(tmp_path / "metertap", f"#!{sys.executable}\n{SHOW}")
    found = _service(str(script), cwd=tmp_path)
    assert (found["name"], found["version"]) == ("metertap", __version__)


def test_what_the_operator_says_wins(shop: Path) -> None:
    attributes = "service.name=cellar,service.version=7,service.instance.id=left"
    found = _service(sys.executable, "server.py", cwd=shop, OTEL_RESOURCE_ATTRIBUTES=attributes)
    assert found == {"name": "cellar", "version": "7", "instance_id": "left"}
    found = _service(
        sys.executable,
        "server.py",
        cwd=shop,
        OTEL_RESOURCE_ATTRIBUTES=attributes,
        OTEL_SERVICE_NAME="till",
    )
    assert found["name"] == "till"


def test_each_process_is_an_instance_of_its_own(shop: Path) -> None:
    ids = {_service(sys.executable, "server.py", cwd=shop)["instance_id"] for _ in range(2)}
    assert len(ids) == 2
