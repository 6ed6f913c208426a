"""Functions of Python that threads of metertap call, whatever a test has put in their place.

Tests replace functions of `time`, `os` and `builtins` in the whole process: a clock has two values,
a file is not there, a whole file system is made up. A thread of metertap that called them then
would take a value that is meant for the program, be among the calls that a test counts, and believe
what the test pretends. The first test that imports this may have replaced them already.
"""

from __future__ import annotations

import io
import os as _os
import sys
import time
from types import BuiltinFunctionType, SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os as os
    from collections.abc import Callable
else:
    _of_system = vars(sys.modules[_os.name])  # `posix` or `nt`, from which `os` has them
    os = SimpleNamespace(
        **vars(_os)
        | {name: it for name, it in _of_system.items() if type(it) is BuiltinFunctionType}
    )
    """All that is in `os`; no module, because pyfakefs replaces those."""


def _of_time(name: str) -> Callable[[], float]:
    found: Callable[[], float] = getattr(time, name)
    if type(found) is not BuiltinFunctionType:
        from importlib.machinery import BuiltinImporter
        from importlib.util import module_from_spec

        spec = BuiltinImporter.find_spec("time")
        assert spec is not None
        another = module_from_spec(spec)
        BuiltinImporter.exec_module(another)
        found = getattr(another, name)
    return found


class unmocked:  # it is used as the modules are
    """Single functions: not as names of this module, which freezegun and pyfakefs replace too."""

    monotonic = _of_time("monotonic")
    perf_counter = _of_time("perf_counter")
    time = _of_time("time")
    open = io.open
