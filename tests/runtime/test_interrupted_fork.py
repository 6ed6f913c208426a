"""An interrupt (Ctrl-C) while a fork waits for a lock: what was not taken is not released."""

from __future__ import annotations

from typing import Any

import pytest

import metertap
from metertap.runtime.owners import Owners
from metertap_instrumentation.process import process_metrics


class Interrupted:
    """A lock for which nobody waits to the end."""

    def acquire(self, *_args: object, **_options: object) -> bool:
        raise KeyboardInterrupt

    def release(self) -> None:
        raise RuntimeError("cannot release un-acquired lock")


@pytest.mark.parametrize("of", ["owners", "installation", "process metrics"])
def test_nothing_is_released_that_was_not_taken(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        installation, owners = tap._begun, Owners[object]()
        holders: dict[str, tuple[Any, str, Any, Any]] = {
            "owners": (owners, "lock", owners.before_fork, owners.forked_in_parent),
            "installation": (
                installation,
                "_waking",
                lambda: installation.before_fork(60),
                installation.forked_in_parent,
            ),
            "process metrics": (
                process_metrics,
                "_loading",
                process_metrics._before_fork,
                process_metrics._forked_in_parent,
            ),
        }
        holder, lock, before, parent = holders[of]
        before()
        parent()  # of a fork that nobody has interrupted
        with monkeypatch.context() as patched:
            patched.setattr(holder, lock, Interrupted())
            with pytest.raises(KeyboardInterrupt):
                before()
            parent()
