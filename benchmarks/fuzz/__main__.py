"""Fuzz: `python -m benchmarks.fuzz`."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import fuzz


def main() -> int:
    """Fuzz; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=fuzz.__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of each target (100,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="targets with this in their name")
    given = parser.parse_args()
    wrong = 0
    for make in fuzz.TARGETS:
        if given.only in make.__name__:
            began = time.perf_counter()
            with make() as target:
                for told in fuzz.fuzz(target, given.inputs, given.seed):
                    wrong += 1
                    print(f"  {told}", flush=True)
            took = time.perf_counter() - began
            print(f"{make.__name__}: {given.inputs} inputs, {took:.0f} s", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
