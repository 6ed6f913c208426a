"""The name of a program, read off its command line."""

from __future__ import annotations

import sys
from pathlib import PurePath

import pytest

from metertap.otel import resource
from metertap.settings.settings import Settings

pytestmark = pytest.mark.sdk

PYTHON = PurePath(sys.executable).stem


@pytest.mark.parametrize(
    ("command", "session", "name"),
    [
        ("-m ipykernel_launcher -f k.json", "/home/ada/sales.ipynb", "sales"),
        ("-m ipykernel_launcher -f k.json", "/home/ada/console-1-5d2e", "ipykernel_launcher"),
        ("-m ipykernel_launcher -f k.json", None, "ipykernel_launcher"),
        ("-m shop.server", "/home/ada/sales.ipynb", "shop.server"),
        ("-m ipykernel_launcher", "/a/sales\x1b[2J.ipynb", "sales\\x1b[2J"),
        ("-m ipykernel_launcher", f"/{'s' * 300}.ipynb", f"{'s' * 100}…"),
    ],
)
def test_a_notebook_is_called_after_its_file(
    command: str, session: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *command.split()])
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    if session is not None:
        monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert resource.identity(Settings())["service.name"] == name
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__vsc_ipynb_file__", session, raising=False)
    assert resource.identity(Settings())["service.name"] == name  # Visual Studio Code tells it so
    given = Settings(service_name="mine")
    assert resource.identity(given)["service.name"] == "mine"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/venv/bin/mcp-server-time --local-timezone UTC", "mcp-server-time"),
        ("/srv/shop/prices.py", "prices"),
        ("/srv/shop/server.py --port 1", "shop-server"),
        ("/srv/shop/__main__.py", "shop"),
        ("/srv/shop.pyz", "shop"),
        ("-m shop", "shop"),
        ("-m shop.server --port 1", "shop.server"),
        ("-mshop", "shop"),
        ("-Im shop", "shop"),
        ("-u -X dev -W error -Wdefault -m shop", "shop"),
        ("--check-hash-based-pycs always shop.py", "shop"),
        ("-c pass --port 1", PYTHON),
        ("-", PYTHON),
        ("", PYTHON),
        ("/venv/bin/uvicorn shop.app:app", "shop.app"),
        ("/venv/bin/uvicorn --host 127.0.0.1 --port 8000 shop.app:app --reload", "shop.app"),
        ("/venv/bin/uvicorn --factory shop.app:make", "shop.app"),
        ("/venv/bin/gunicorn -b 127.0.0.1:8000 -w 4 shop.wsgi", "shop.wsgi"),
        ("/venv/bin/gunicorn -k uvicorn.workers.UvicornWorker shop.wsgi:app()", "shop.wsgi"),
        ("/venv/bin/gunicorn --bind localhost:8000 --config conf.py", "gunicorn"),
        ("/venv/bin/fastmcp run /srv/shop/server.py:mcp --transport http", "shop-server"),
        ("/venv/bin/mcp dev /srv/till.py", "till"),
        ("-m uvicorn shop.app:app", "shop.app"),
        ("-m uvicorn", "uvicorn"),
    ],
)
def test_the_name_of_a_command(command: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *command.split()])
    assert resource.identity(Settings())["service.name"] == name


def test_a_file_is_not_taken_for_the_distribution_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "/srv/metertap.py"])
    assert "service.version" not in resource.identity(Settings())
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "metertap"])
    assert "service.version" in resource.identity(Settings())
