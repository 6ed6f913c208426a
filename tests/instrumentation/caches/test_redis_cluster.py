"""redis-py and a real cluster of three nodes: slots that move, and nodes that are gone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

import metertap
from kits.async_caches import close_loop, run
from kits.cache_kit import shows_us
from servers.redis_cluster import Cluster, Node, redis_cluster, slot_of

pytestmark = [pytest.mark.library("redis"), pytest.mark.programs]

redis = pytest.importorskip("redis")
aredis = pytest.importorskip("redis.asyncio")
NoBackoff = pytest.importorskip("redis.backoff").NoBackoff


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class Kit:
    """`made` makes a client; what it answers is awaited where it has to be."""

    made: Callable[..., Any]
    retry: Any

    def retries(self, count: int) -> dict[str, Any]:
        """As many tries more, with no time between them."""
        if redis.VERSION < (6,):
            return {"cluster_error_retry_attempts": count}
        return {"retry": self.retry(NoBackoff(), count)}

    @pytest.fixture(autouse=True)
    def measured(self) -> Iterator[metertap.Tap]:
        self.clients: list[Any] = []
        with metertap.instrument(json_endpoint=False) as tap:
            yield tap
            assert tap.diagnosis()["faults"] == {}
        for client in self.clients:
            self.wait((getattr(client, "aclose", None) or client.close)())
        close_loop()

    @pytest.fixture
    def cluster(self, healthy: Cluster) -> Cluster:
        for node in healthy.nodes:
            node.client.flushall()
            node.command("CONFIG RESETSTAT")
        return healthy

    def client(self, cluster: Cluster, **more: Any) -> Any:
        """A client that knows which slots are where now."""
        client = type(self).made(host="127.0.0.1", port=cluster.port, **more)
        self.clients.append(client)
        metertap.name_cache(client, "sessions")
        self.wait(client.ping())
        return client

    def wait(self, answer: Any) -> Any:
        """What a coroutine comes to; anything else is the answer."""
        return run(answer) if inspect.iscoroutine(answer) else answer

    def piped(self, client: Any, *keys: str, **more: Any) -> Any:
        """Get all keys with one pipeline."""
        pipe = client.pipeline()
        for key in keys:
            pipe.get(key)
        return self.wait(pipe.execute(**more))

    def counted(self) -> tuple[int, int]:
        found = metertap.get_all_metrics()["cache_metrics"]
        assert set(found) <= {"sessions"}
        figures = found.get("sessions", {"hits": 0, "misses": 0})
        return figures["hits"], figures["misses"]

    # What follows are the tests.

    def test_each_node_is_asked_and_each_lookup_counts_once(self, cluster: Cluster) -> None:
        client = self.client(cluster)
        for node in cluster.nodes:
            there, absent = islice(cluster.keys(node), 2)
            node.client.set(there, 1)
            assert self.wait(client.get(there)) == b"1"
            assert self.wait(client.get(absent)) is None
        assert self.counted() == (3, 3)

    def test_many_keys_of_all_nodes(self, cluster: Cluster) -> None:
        client = self.client(cluster)
        keys = [key for node in cluster.nodes for key in islice(cluster.keys(node), 4)]
        for key in keys[::2]:
            assert self.wait(client.set(key, 1))
        assert self.wait(client.mget_nonatomic(keys)) == [b"1", None] * 6
        assert self.counted() == (6, 6)

    def test_a_pipeline_over_all_nodes(self, cluster: Cluster) -> None:
        client = self.client(cluster)
        keys = [key for node in cluster.nodes for key in islice(cluster.keys(node), 4)]
        for key in keys[::2]:
            assert self.wait(client.set(key, 1))
        assert self.piped(client, *keys) == [b"1", None] * 6
        assert self.counted() == (6, 6)

    def test_a_slot_that_was_moved(self, cluster: Cluster) -> None:
        here, to, _ = cluster.nodes
        client = self.client(cluster)
        for there, look in ((True, self.get), (False, self.get), (True, self.many)):
            key = cluster.key(here)
            if there:
                here.client.set(key, 1)
            cluster.move(key, to)
            before = self.counted()
            assert look(client, key) == (b"1" if there else None)
            assert here.redirected("MOVED") == 1
            assert self.counted() == (before[0] + there, before[1] + (not there))

    def test_slots_that_were_moved_while_a_pipeline_was_made(self, cluster: Cluster) -> None:
        here, to, other = cluster.nodes
        client = self.client(cluster)
        moved, gone = islice(cluster.keys(here), 2)
        stays, absent = cluster.key(other), cluster.key(to)
        for node, key in ((here, moved), (other, stays)):
            node.client.set(key, 1)
        for key in (moved, gone):
            cluster.move(key, to)
        assert self.piped(client, moved, stays, gone, absent) == [b"1", b"1", None, None]
        assert here.redirected("MOVED") >= 1
        assert self.counted() == (2, 2)

    def test_a_slot_that_is_being_moved(self, cluster: Cluster) -> None:
        here, to, _ = cluster.nodes
        client = self.client(cluster)
        stays, slot = cluster.key(here), slot_of(cluster.key(here))
        moved, absent = f"{{{stays}}}moved", f"{{{stays}}}absent"
        for key in (stays, moved):
            here.client.set(key, 1)
        cluster.begin_move(slot, to)
        cluster.move_key(moved, to)
        assert self.get(client, stays) == b"1"
        assert here.redirected("ASK") == 0
        assert self.get(client, moved) == b"1"
        assert self.get(client, absent) is None
        assert here.redirected("ASK") == 2
        assert self.counted() == (2, 1)
        assert self.piped(client, stays, moved, absent) == [b"1", b"1", None]
        assert here.redirected("ASK") >= 2
        assert self.counted() == (4, 2)
        # Keys of one command in two places: the cluster says to try again, and that is what raises.
        with pytest.raises(redis.exceptions.RedisError) as raised:
            self.wait(client.mget(stays, moved))
        assert not shows_us(raised.value)
        assert self.counted() == (4, 2)
        cluster.move_key(stays, to)
        cluster.end_move(slot, to)
        assert self.wait(client.mget(stays, moved, absent)) == [b"1", b"1", None]
        assert self.counted() == (6, 3)

    def test_a_node_that_was_killed(
        self, measured: metertap.Tap, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            client = self.client(cluster, **self.retries(1))
            *others, killed = cluster.nodes
            slow, dead = islice(cluster.keys(killed), 2)
            alive = [cluster.key(node) for node in others]
            others[0].client.set(alive[0], 1)
            assert self.piped(client, dead, *alive) == [None, b"1", None]
            assert self.counted() == (1, 2)
            killed.kill()
            for look in (self.get, self.many, self.piped):
                with pytest.raises(redis.exceptions.RedisError) as raised:
                    look(client, dead)
                assert isinstance(raised.value, (redis.ConnectionError, redis.TimeoutError))
                assert not shows_us(raised.value)
            with pytest.raises(redis.exceptions.RedisError):
                self.piped(client, *alive, dead)
            assert self.counted() == (1, 2)
            assert [self.get(client, key) for key in alive] == [b"1", None]
            assert self.counted() == (2, 3)

            # Another has the slot: a lookup that is tried again there counts once.
            self.heir(cluster, killed, dead, slow)
            assert self.get(client, dead) == b"1"
            assert self.counted() == (3, 3)
            assert self.piped(client, *alive, slow) == [b"1", None, None]
            assert self.counted() == (4, 5)

    def test_a_lookup_that_is_tried_again_counts_once(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            *others, killed = cluster.nodes
            one, two, three = islice(cluster.keys(killed), 3)
            alive = [cluster.key(node) for node in others]
            alone, piping = (self.client(cluster, **self.retries(3)) for _ in range(2))
            for client in (alone, piping):  # it has connections, which will break
                assert self.piped(client, one, *alive) == [None, None, None]
            assert self.counted() == (0, 6)
            killed.kill()
            self.heir(cluster, killed, one, two, three)
            assert self.get(alone, one) == b"1"
            assert self.counted() == (1, 6)
            assert self.piped(piping, alive[0], one, two, alive[1]) == [None, b"1", None, None]
            assert self.counted() == (2, 9)

    def heir(self, cluster: Cluster, gone: Node, *keys: str) -> None:
        """Give the keys' slots to another node, which has the first of them."""
        to = next(node for node in cluster.nodes if node is not gone)
        for key in keys:
            cluster.take_over(slot_of(key), to)
        to.client.set(keys[0], 1)

    def get(self, client: Any, key: str) -> Any:
        return self.wait(client.get(key))

    def many(self, client: Any, key: str) -> Any:
        (value,) = self.wait(client.mget(key))
        return value


class TestSync(Kit):
    made, retry = redis.RedisCluster, redis.retry.Retry


class TestAsync(Kit):
    made, retry = aredis.RedisCluster, aredis.retry.Retry
