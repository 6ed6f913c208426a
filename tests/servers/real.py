"""Real server programs. They are on PATH where CI put them; elsewhere tests skip, saying so."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """Path of a server program, or a skip. With TEST_REAL_REQUIRED set, a failure instead."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not on PATH; .ci/run installs it"
        if os.environ.get("TEST_REAL_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
