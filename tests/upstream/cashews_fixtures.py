"""The fixtures that cashews' tests expect, for its source distribution leaves them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import Mock

import pytest
from cashews import Cache
from cashews.backends.diskcache import DiskCache
from cashews.backends.memory import Memory
from cashews.backends.redis import Redis
from cashews.backends.redis.client_side import BcastClientSide
from cashews.backends.transaction import TransactionBackend

DSN = "redis://127.0.0.1:6379/1"
BACKENDS: dict[str, Callable[[], Any]] = {
    "memory": lambda: Memory(check_interval=0.01),
    "transactional": lambda: TransactionBackend(Memory(check_interval=0.01)),
    "redis": lambda: Redis(DSN, suppress=False),
    "redis_cs": lambda: BcastClientSide(DSN, suppress=False),
    "diskcache": lambda: DiskCache(shards=0),
}


@pytest.fixture
def redis_dsn() -> str:
    """Name the database of the redis that is running."""
    return DSN


@pytest.fixture
def backend_factory() -> Callable[..., Any]:
    """Make a backend of the class that a test names."""
    return lambda backend, *args, **kwargs: backend(*args, **kwargs)


@pytest.fixture(params=BACKENDS)
async def raw_backend(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, str]]:
    """Give an empty backend and its name."""
    backend = BACKENDS[request.param]()
    await backend.init()
    await backend.clear()
    yield backend, request.param
    await backend.close()


@pytest.fixture
def target(raw_backend: tuple[Any, str]) -> Mock:
    """Give a mock that passes each call on to the backend, and keeps it."""
    return Mock(wraps=raw_backend[0], is_full_disable=False)


@pytest.fixture
def cache(target: Mock, raw_backend: tuple[Any, str]) -> Cache:
    """Give a cache that stands on that mock."""
    made = Cache(name=raw_backend[1])
    made._add_backend(target)
    return made
