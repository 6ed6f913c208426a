"""Tests shared out to the workers of pytest-xdist so that half of them import no libraries.

Each worker imports every file of tests that it may be given. With the room that measures libraries
come some 5,000 modules: seconds in each worker, and from then on `instrument()` patches all of
these libraries in each test, which takes ten times as long as to patch none. So where all rooms are
tested, half of the workers take that room, and the others take the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

TESTS = Path(__file__).parents[1]
_OF_LIBRARIES = "takes the room of the libraries"
_KEY = pytest.StashKey["Halves"]()
_ENOUGH = 4
"""With fewer workers, the half that ends first would leave too much of the machine idle."""


def begin(session: pytest.Session) -> None:
    """Share out in halves where all rooms are tested, without programs, by enough workers."""
    config, option = session.config, session.config.option
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.keyword
    is_loadfile = getattr(option, "dist", "no") == "loadfile" and len(option.tx) >= _ENOUGH
    if is_whole and is_loadfile and option.markexpr == "not programs":
        config.stash[_KEY] = Halves(session)


def scheduler(config: pytest.Config) -> Halves | None:
    """Return what shares out, in the process that does; None where all workers take all tests."""
    return config.stash.get(_KEY, None)


def is_of_other_half(path: Path, config: pytest.Config) -> bool:
    """Return whether a worker leaves a file or folder to the other half of them."""
    is_mine = getattr(config, "workerinput", {}).get(_OF_LIBRARIES)
    if is_mine is None or path == TESTS or not path.is_relative_to(TESTS):
        return False
    return bool(is_mine) != (path.relative_to(TESTS).parts[0] == "instrumentation")


class Halves:
    """A scheduler that has one for each half."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        config = session.config
        log = Producer("halves", enabled=config.option.debug)  # as xdist's own does
        self._halves = LoadFileScheduling(config, log), LoadFileScheduling(config, log)
        workers = len(config.option.tx)
        self._halves[0].numnodes, self._halves[1].numnodes = workers - workers // 2, workers // 2
        self._told: list[Any] = []

    def tell(self, node: Any) -> None:
        """Tell a worker that is about to start which half it is of: the one that has fewer."""
        alive = [it for it in self._told if it in self.nodes] if self.nodes else self._told
        of_libraries = sum(self._is_of_libraries(it) for it in alive)
        node.workerinput[_OF_LIBRARIES] = of_libraries < len(alive) - of_libraries
        self._told.append(node)

    @staticmethod
    def _is_of_libraries(node: Any) -> bool:
        return bool(node.workerinput[_OF_LIBRARIES])

    def _of(self, node: Any) -> LoadFileScheduling:
        return self._halves[self._is_of_libraries(node)]

    @property
    def nodes(self) -> list[Any]:
        """All workers."""
        return [node for half in self._halves for node in half.nodes]

    @property
    def collection_is_completed(self) -> bool:
        """Whether every worker has collected."""
        return all(half.collection_is_completed for half in self._halves)

    @property
    def tests_finished(self) -> bool:
        """Whether all tests have run, or been handed out for good."""
        return all(half.tests_finished for half in self._halves)

    @property
    def has_pending(self) -> bool:
        """Whether tests are still to run."""
        return any(half.has_pending for half in self._halves)

    def add_node(self, node: Any) -> None:
        """Take a worker that has started."""
        self._of(node).add_node(node)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take what a worker has collected."""
        self._of(node).add_node_collection(node, collection)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Note that a test has run."""
        self._of(node).mark_test_complete(node, item_index, duration)

    def mark_test_pending(self, item: str) -> None:
        """Run a test once more, which sharing out by files does not know."""
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """Take tests back, which sharing out by files does not know."""
        raise NotImplementedError

    def remove_node(self, node: Any) -> str | None:
        """Let a worker go, and say which test it was running if it crashed."""
        return self._of(node).remove_node(node)

    def schedule(self) -> None:
        """Share out what each half has collected."""
        for half in self._halves:
            half.schedule()
        self._session.testscollected = sum(len(half.collection or ()) for half in self._halves)
