"""A little of `python -m benchmarks.fuzz`: what others say is refused, or can be shown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from benchmarks import fuzz


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.__name__)
def test_what_others_say_is_refused_or_can_be_shown(
    target: Callable[[], AbstractContextManager[fuzz.Target]],
) -> None:
    with target() as made:
        assert list(fuzz.fuzz(made, 40, seed=1)) == []
