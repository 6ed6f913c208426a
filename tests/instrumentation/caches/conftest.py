"""Servers of redis, and an event loop, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from servers.real_servers import redis_server
from servers.redis_cluster import redis_cluster
from support.loop import Loop


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("redis")
    with redis_server(tmp_path_factory.mktemp("redis") / "alone") as port:
        yield port


@pytest.fixture(scope="module")
def cluster_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.port


@pytest.fixture(scope="module")
def run() -> Iterator[Loop]:
    with closing(Loop()) as loop:
        yield loop
