"""What metertap told the program's operator."""

from __future__ import annotations

import pytest


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of metertap's logger so far, in order, without the prefix."""
    return [
        record.getMessage().removeprefix("metertap: ")
        for record in caplog.records
        if record.name == "metertap" and record.levelname == "WARNING"
    ]
