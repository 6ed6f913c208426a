"""The messages that gRPC's core, written in C, prints on the program's stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERBOSITY = "GRPC_VERBOSITY"


@contextmanager
def tells_errors_alone() -> Iterator[None]:
    """Have the core print only errors, if gRPC is first imported in this block.

    By default it also prints a server's reason for ending, each time that one comes, with line ends
    and control characters. A verbosity that is set, or an earlier import, is left as it is.
    """
    if "grpc" in sys.modules or _VERBOSITY in os.environ:
        yield
        return
    os.environ[_VERBOSITY] = "ERROR"  # gRPC reads it once
    try:
        yield
    finally:
        os.environ.pop(_VERBOSITY, None)
