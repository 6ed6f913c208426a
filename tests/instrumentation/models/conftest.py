"""What several tests of model clients need."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import metertap
from servers.model_api import ModelApi


@pytest.fixture(autouse=True)
def collected_in_between() -> Iterator[None]:
    """Collect garbage between tests alone.

    An unread stream of openai is in a circle with its own generator. Where it is collected while
    httpx holds the lock of its connections, it waits for that lock for ever, measured or not.
    """
    gc.disable()
    yield
    gc.enable()
    gc.collect(0)  # all that a test made is of the youngest generation


@pytest.fixture
def api() -> Iterator[ModelApi]:
    """The API of a model, while this process is measured."""
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        yield api
