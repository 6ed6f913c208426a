"""Functions of Python that threads of metertap call, as they were when metertap was imported.

Tests replace functions of `time`, `os` and `builtins` in the whole process: a clock has two values,
a file is not there, a whole file system is made up. A thread of metertap that called them then
would take a value that is meant for the program, be among the calls that a test counts, and believe
what the test pretends.
"""

from __future__ import annotations

import os as _os
import time
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os as os
else:
    os = SimpleNamespace(**vars(_os))
    """All that is in `os`; no module, because pyfakefs replaces those."""


class unmocked:  # it is used as the modules are
    """Single functions: not as names of this module, which freezegun and pyfakefs replace too."""

    monotonic = time.monotonic
    open = open
