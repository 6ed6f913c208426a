"""A Redis cluster of three real nodes, whose slots can be moved and whose nodes can be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from servers.real_servers import redis_server
from support.ports import free_port
from support.waiting import wait_for

SLOTS = 16384


class Node:
    """A primary; `client` talks to it alone, whatever slots it has."""

    def __init__(self, port: int, bus: int) -> None:
        import redis

        self.port, self.bus = port, bus
        self.client: Any = redis.Redis(port=port)
        self.name = self.command("CLUSTER MYID").decode()
        self.pid = int(self.client.info("server")["process_id"])

    def command(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    def kill(self) -> None:
        """End it as a crash would, and wait until nobody listens there."""
        os.kill(self.pid, signal.SIGKILL)
        wait_for(self._is_gone)

    def redirected(self, kind: str) -> int:
        """How often it answered MOVED, ASK or TRYAGAIN since this was asked before."""
        found = self.client.info("errorstats").get(f"errorstat_{kind}", "count=0")
        self.command("CONFIG RESETSTAT")
        return int(found["count"] if isinstance(found, dict) else found.partition("=")[2])

    def owners(self) -> dict[int, str]:
        """Each slot's node, as this one sees it."""
        return {
            slot: node["node_id"]
            for node in self.command("CLUSTER NODES").values()
            for first, *last in node["slots"]
            if first.isdigit()  # others are slots on their way
            for slot in range(int(first), int(last[-1] if last else first) + 1)
        }

    def _is_gone(self) -> bool:
        import redis

        try:
            self.client.ping()
        except redis.ConnectionError:
            return True
        return False


class Cluster:
    """`nodes` that know each other; each has a third of the slots at first."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.owner: dict[int, Node] = {}
        for number, node in enumerate(nodes):
            first, end = (SLOTS * part // len(nodes) for part in (number, number + 1))
            node.command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            self.owner.update(dict.fromkeys(range(first, end), node))
        for node in nodes[1:]:
            nodes[0].command("CLUSTER MEET", "127.0.0.1", node.port, node.bus)
        wait_for(self._is_settled)

    @property
    def port(self) -> int:
        return self.nodes[0].port

    def keys(self, node: Node) -> Iterator[str]:
        """Keys of as many slots of that node as are wanted."""
        found = (f"key-{number}" for number in count())
        return (key for key in found if self.owner[slot_of(key)] is node)

    def key(self, node: Node) -> str:
        return next(self.keys(node))

    def begin_move(self, slot: int, to: Node) -> None:
        """From now on what is not there any more is asked for with ASK."""
        here = self.owner[slot]
        to.command("CLUSTER SETSLOT", slot, "IMPORTING", here.name)
        here.command("CLUSTER SETSLOT", slot, "MIGRATING", to.name)

    def move_key(self, key: str, to: Node) -> None:
        here = self.owner[slot_of(key)]
        here.command("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)

    def end_move(self, slot: int, to: Node) -> None:
        """Clients that have the old table are told MOVED from now on."""
        for node in (to, *(node for node in self.nodes if node is not to)):
            node.command("CLUSTER SETSLOT", slot, "NODE", to.name)
        self.owner[slot] = to

    def move(self, key: str, to: Node) -> None:
        """Move a key's slot, and that key."""
        slot = slot_of(key)
        self.begin_move(slot, to)
        self.move_key(key, to)
        self.end_move(slot, to)

    def take_over(self, slot: int, to: Node) -> None:
        """Give a slot of a node that is gone to another; what it held is lost."""
        self.nodes = [node for node in self.nodes if node is not self.owner[slot]]
        self.end_move(slot, to)

    def _is_settled(self) -> bool:
        wanted = {slot: node.name for slot, node in self.owner.items()}
        return all(
            node.command("CLUSTER INFO")["cluster_state"] == "ok" and node.owners() == wanted
            for node in self.nodes
        )


def slot_of(key: str) -> int:
    from redis.crc import key_slot

    return int(key_slot(key.encode()))


@contextmanager
def redis_cluster(folder: Path) -> Iterator[Cluster]:
    """Three nodes that go on if one of them is gone."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            bus = free_port()
            port = stack.enter_context(
                redis_server(
                    folder / str(number),
                    *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                    *("--cluster-announce-ip", "127.0.0.1"),
                    *("--cluster-require-full-coverage", "no"),
                )
            )
            node = Node(port, bus)
            stack.callback(node.client.close)
            nodes.append(node)
        yield Cluster(nodes)
