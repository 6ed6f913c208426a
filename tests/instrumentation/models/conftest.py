"""What several tests of model clients need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import metertap
from servers.model_api import ModelApi


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """The API of a model, while this process is measured."""
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        yield api
