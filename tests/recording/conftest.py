"""A process whose own figures do not change meanwhile, and a recorder that hands over."""

from __future__ import annotations

import pytest

from metertap.recording import Recorder
from support.kept_instruments import KeptInstruments


@pytest.fixture
def instruments() -> KeptInstruments:
    return KeptInstruments()


@pytest.fixture
def recorder(instruments: KeptInstruments) -> Recorder:
    made = Recorder()
    made.instruments = [instruments]
    return made


@pytest.fixture
def without_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own figures are others at each look."""
    monkeypatch.setenv("METERTAP_DISABLED_INSTRUMENTATIONS", "system_metrics")
