"""`python -m benchmarks.fuzz --inputs 100000`: what reads others' words, given wrong ones.

Each target is a reader of what another process, a file, an engine or a model's provider says. It
is given words of ours in which something was changed: a value by one of another type or size, a
part left out, twice, or in another place, bytes by others. It has to refuse them by the error that
it promises, or to make something of them that can be shown. Anything else is printed with its seed.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fuzz.changes import Target
from benchmarks.fuzz.of_histories import answers_of_engines, files_of_a_history, rows_of_a_history
from benchmarks.fuzz.of_models import prices_of_a_file, usage_of_models
from benchmarks.fuzz.of_peers import bytes_of_clients, listings_of_servers, requests_of_clients
from benchmarks.fuzz.of_workers import answers_of_workers, targets_of_processes, totals_of_workers
from metertap import faults

__all__ = ["TARGETS", "Target", "fuzz"]

TARGETS = (
    *(answers_of_workers, totals_of_workers, rows_of_a_history, files_of_a_history),
    *(answers_of_engines, usage_of_models, prices_of_a_file, listings_of_servers),
    *(requests_of_clients, bytes_of_clients, targets_of_processes),
)


def fuzz(target: Target, inputs: int, seed: int) -> Iterator[str]:
    """Give `inputs` inputs to a target; yield what went wrong, each kind once."""
    seen = set()
    for number in range(seed, seed + inputs):
        before = sum(faults.fault_counts().values())
        try:
            target.give(random.Random(number))  # inputs have to come again
        except target.refuses:
            continue
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                yield f"seed {number}: {kind}: {str(error)[:200]!r}"
        if sum(faults.fault_counts().values()) > before:
            yield f"seed {number}: a fault: {faults.fault_counts()}"
