"""Settings that keep readers out: where one cannot be used, no endpoint opens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.settings import secret, settings
from metertap.settings.secret import Secret
from support.programs import run
from support.waiting import wait_for
from support.warned import warnings_of

UNUSABLE: list[dict[str, Any]] = [
    {"token": ""},
    {"token": "two words"},
    {"token": "line\nend"},
    {"token": "\xe9" * 20},
    {"token": "x" * 5000},
    {"token": 12345},
    {"token": b"bytes-bytes-bytes-bytes"},
    {"token_file": ""},
    {"token_file": "a\0b"},
    {"json_socket": " "},
    {"tls_certfile": ""},
    {"tls_keyfile": "/key.pem"},
    {"tls_client_cafile": "/authority.pem"},
    {"token": "0123456789abcdef", "token_file": "/token"},
]


@pytest.mark.parametrize("options", UNUSABLE, ids=str)
def test_what_cannot_be_used_opens_no_endpoint(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with metertap.instrument(prometheus=True, **options) as tap:
        metertap.record_tool_call("search", True, 1.0)
        problems = wait_for(
            lambda: [item["problem"] for item in tap.diagnosis()["endpoints"] if item["problem"]]
        )
        assert (tap.json_url, tap.prometheus_url) == (None, None)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    assert problems
    told = warnings_of(caplog)
    # And not again for each endpoint.
    (_,) = [warning for warning in told if any(problem in warning for problem in problems)]
    assert sum(warning.endswith(": no endpoint opens") for warning in told) == 1
    for value in options.values():
        if isinstance(value, str) and len(value) > 8 and value[0] != "/":
            assert value not in "".join(told + problems)


def test_a_keyword_takes_the_place_of_a_variable_that_cannot_be_used() -> None:
    environ = {"METERTAP_TOKEN": "two words"}
    assert settings.read({}, environ).access_problem is not None
    found = settings.read({"token": "0123456789abcdef"}, environ)
    assert (found.token, found.access_problem) == (Secret("0123456789abcdef"), None)


def test_a_file_is_meant_from_the_folder_in_which_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.read({"token_file": "token", "json_socket": "~/socket"}, {})
    monkeypatch.chdir("/")
    assert found.token_file == tmp_path / "token"
    assert found.json_socket == Path.home() / "socket"


def test_a_secret_is_not_shown() -> None:
    hidden = Secret("0123456789abcdef")
    assert {str(hidden), repr(hidden), f"{hidden}", f"{hidden!r:>5}"} == {"(not shown)"}
    assert "0123" not in repr(settings.read({"token": "0123456789abcdef"}, {}))


def test_a_secret_in_a_file_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with file.open("wb") as sparse:
        sparse.truncate(10**12)
    with pytest.raises(ValueError, match="characters are needed"):
        secret.read(file)


IN_FILE = {
    "json_socket": "/evil.sock",
    "prometheus_socket": "/evil.sock",
    "token": "an-evil-token-of-evil",
    "token_file": "/evil",
    "tls_certfile": "/evil.pem",
    "tls_keyfile": "/evil.pem",
    "tls_client_cafile": "/evil.pem",
    "prometheus": True,
}
SHOW = f"""
import json
from metertap.settings.settings import Settings, read
found, default = read(), Settings()
counted = [name for name in {list(IN_FILE)} if getattr(found, name) != getattr(default, name)]
print(json.dumps([counted, found.access_problem]))
"""


@pytest.mark.parametrize("name", IN_FILE)
def test_a_strangers_file_neither_lets_in_nor_opens(name: str, tmp_path: Path) -> None:
    folder, other = tmp_path / "cloned", tmp_path / "program"
    folder.mkdir()
    other.mkdir()
    (folder / "pyproject.toml").write_text(f"[tool.metertap]\n{name} = {json.dumps(IN_FILE[name])}")
    (other / "program.py").write_text(SHOW)
    done = run(sys.executable, str(other / "program.py"), cwd=folder)
    counted, problem = json.loads(done.stdout)
    assert counted == []
    # Whoever wrote it there believes that readers are kept out.
    assert (problem is None) == (name == "prometheus")
    assert f"{name} in {folder / 'pyproject.toml'} is ignored" in done.told
    assert "evil" not in done.told
