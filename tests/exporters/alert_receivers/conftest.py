"""Receivers of alerts: real servers, and what tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metertap.settings.address import parse
from metertap_exporters.alert_receivers import receiver as receiver_module
from metertap_exporters.alert_receivers.receiver import Receiver, ReceiverKind
from servers.webhook import Webhook, webhook
from support.alert_receivers import Make


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as made:
        yield made


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(receiver_module, "LAST_RETRY_SECONDS", 0.1)


@pytest.fixture
def receiver_of() -> Iterator[Make]:
    made: list[Receiver] = []

    def make(kind: ReceiverKind, url: str) -> Receiver:
        made.append(Receiver(kind, parse(url)))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a text into the configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "pyproject.toml"))
    return lambda text: (tmp_path / "pyproject.toml").write_text(text) and None
