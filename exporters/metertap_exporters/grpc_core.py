"""What the core of gRPC, which is written in C, writes to the program's stderr by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERBOSITY = "GRPC_VERBOSITY"


@contextmanager
def tells_errors_alone() -> Iterator[None]:
    """Have the core write errors alone, where gRPC is imported first in this block.

    By itself it also writes what a server gives as the reason of its end, as often as that comes,
    with line ends and control characters. Who has set its verbosity, or has gRPC already, keeps it.
    """
    if "grpc" in sys.modules or _VERBOSITY in os.environ:
        yield
        return
    os.environ[_VERBOSITY] = "ERROR"  # it is read once
    try:
        yield
    finally:
        os.environ.pop(_VERBOSITY, None)
