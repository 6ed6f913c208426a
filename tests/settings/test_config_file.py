"""The configuration file: the program's pyproject.toml, or one that METERTAP_CONFIG names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from metertap.settings import config_file, settings
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter


@pytest.fixture(autouse=True)
def in_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", ["window_size = 7", "[tool.metertap]\nwindow_size = 7"])
def test_a_named_file_holds_the_table_or_its_keys(text: str) -> None:
    Path("metertap.toml").write_text(text)
    found = settings.read(environ={"METERTAP_CONFIG": "metertap.toml"})
    assert found.window_size == 7
    assert found.sources["window_size"] == "file"


def test_the_named_file_is_read_and_not_the_directorys() -> None:
    Path("pyproject.toml").write_text("[tool.metertap]\nwindow_size = 5\nseries_limit = 5")
    Path("other.toml").write_text("window_size = 7")
    found = settings.read(environ={"METERTAP_CONFIG": "other.toml"})
    assert (found.window_size, found.series_limit) == (7, 2000)


def test_top_level_keys_of_a_pyproject_are_not_settings(caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text("window_size = 7\n[tool.other]\nx = 1")
    assert settings.read(environ={}).window_size == 1000
    assert warnings_of(caplog) == []


def test_a_bad_value_names_the_key_and_the_file(caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text("[tool.metertap]\njson_port = 1.5")
    assert settings.read(environ={}).json_port == 9109
    assert warnings_of(caplog) == [
        "json_port in pyproject.toml=1.5 cannot be used "
        "(a whole number from 0 to 65535 is needed); 9109 is used instead"
    ]


def test_a_misspelt_key_is_one_warning_with_a_suggestion(caplog: pytest.LogCaptureFixture) -> None:
    Path("pyproject.toml").write_text(
        '[tool.metertap]\nwindow_sizes = 5\n[tool.metertap.tools]\n"shop:buy" = {}\n'
    )
    settings.read(environ={"METERTAP_CONFIG": str(Path("pyproject.toml").absolute())})
    assert warnings_of(caplog) == [
        "window_sizes in pyproject.toml is no setting of metertap and is ignored; "
        "did you mean window_size?"
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.metertap]\nwindow_size = = 5"),
        ("pyproject.toml", "tool.metertap = 5 # not a table of [tool.metertap]"),
        ("other.toml", "not toml"),
        # The parser would take seconds for a long file, which somebody else may have put there.
        ("pyproject.toml", "[tool.metertap]\nwindow_size = 7\n" + "# more\n" * 40_000),
        ("other.toml", "window_size = 7\n" + "# more\n" * 40_000),
    ],
)
def test_a_broken_file_that_concerns_us_is_one_warning(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path(name).write_text(text)
    environ = {} if name == "pyproject.toml" else {"METERTAP_CONFIG": name}
    environ["METRICS_WINDOW_SIZE"] = "50"
    assert settings.read(environ=environ).window_size == 50
    (warning,) = warnings_of(caplog)
    assert f"{name} cannot be read" in warning


@pytest.mark.parametrize("content", [b"[broken", b"\xff\xfe", b"tool = 5"])
def test_a_broken_pyproject_that_says_nothing_of_us_is_not_our_affair(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    Path("pyproject.toml").write_bytes(content)
    assert settings.read(environ={}).is_like(settings.Settings())
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("name", ["absent.toml", ".", "x" * 5000, "nul\0byte"])
def test_a_named_file_that_cannot_be_read_is_one_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings.read({"window_size": 50}, {"METERTAP_CONFIG": name})
    assert found.window_size == 50
    (warning,) = warnings_of(caplog)
    assert warning.startswith("METERTAP_CONFIG=")


def test_a_package_at_the_root_of_the_file_system_has_a_first_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: Path(path).name == "__init__.py")
    folder = Path("/srv/shop")
    beside = [*islice(config_file._beside(folder), 10)]
    assert beside == [each / "pyproject.toml" for each in (folder, *folder.parents)]


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not look into: a program may have given up its rights."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    user = os.getuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    if user == 0:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="other systems have other rights")
def test_a_program_whose_folder_is_closed_to_it_has_its_file_looked_for(
    closed_folder: Path,
) -> None:
    folder = closed_folder / "shop"
    assert [*config_file._beside(folder)] == [folder / "pyproject.toml"]
