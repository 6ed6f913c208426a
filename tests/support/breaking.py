"""Makes each function of ours that a use of the program passes raise, one after the other.

A seam is a function of metertap that metertap's own code calls on the way: whatever it may raise,
the program must get what it gets unmeasured. Which ones there are is seen in a use of the program,
so that a function that is written tomorrow is tried tomorrow. Left out are functions that guard
themselves (what they call is tried) and those of `_NEVER_FAIL`.
"""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from metertap import faults
from support import frozen
from support.frozen import OURS

_NEVER_FAIL = {
    "faults.py": None,
    "tracebacks.py": None,
    "locks.py": None,
    "threads.py": None,
    "signal_mask.py": None,
    "imports.py": {"create_module", "exec_module", "__getattr__"},
    "lookups.py": {"__init__"},
    "installed.py": {"function", "later", "_call_inherited"},
    "configured.py": {"_default", "_number"},
    "table.py": {"_service"},
    "google_genai.py": {"wrapped"},
    "tap.py": {"_installation"},
    "slots.py": {"enter_or_pass", "told"},
    "unfinished.py": {"__init__", "take"},
    "cache_meter.py": {"__init__", "forget"},
    "asgi.py": {"asgi"},
    "report.py": {"__init__"},
    "layers.py": {"by", "__init__", "__enter__", "__exit__", "leave_layer", "left"},
}
"""Modules, or functions in them, that guard others or read or set one variable: read them instead.

Those of `imports.py` and `installed.py`, and `wrapped`, make the program's own call, so that there
is no call without them.

What `_default`, `_number` and `_service` raise is told as a value that cannot be read.
"""

reached = 0
"""How often a broken function was called."""
_mend: Callable[[], None] | None = None
"""Mends what raises but once."""
_original: Callable[..., Any] = int
"""The function that hangs, as it was."""
_goes_on = threading.Event()
"""Set when what hangs is to go on."""
OUR_THREADS = "metertap-"
"""What names of our threads begin with."""


class Broken(Exception):
    """What a broken function raises."""


def fail() -> None:
    """Raise; called by whatever is broken."""
    global reached
    reached += 1
    mend = _mends.get(sys._getframe(1).f_code, _mend)
    if mend is not None:
        mend()
    raise Broken("a fault of metertap's own")


def _plain(*_args: Any, **_kwargs: Any) -> Any:
    # Nothing global is named here: the code is put into functions of other modules.
    return __import__("support.breaking", fromlist=("fail",)).fail()


async def _later(*_args: Any, **_kwargs: Any) -> Any:
    return __import__("support.breaking", fromlist=("fail",)).fail()


def hang(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Hang in a thread of ours until the body of `each_hanging` is over, and then raise.

    In other threads the function does what it did.
    """
    global reached
    if not _is_of_ours(threading.current_thread().name):
        return _original(*args, **kwargs)
    reached += 1
    _goes_on.wait()
    raise Broken("a fault of metertap's own")


def _hanging(*args: Any, **kwargs: Any) -> Any:
    return __import__("support.breaking", fromlist=("hang",)).hang(args, kwargs)


def name_of(code: CodeType) -> str:
    """Name a function by its file, its name and its line."""
    return f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_name}"


def seams(use: Callable[[], object]) -> list[CodeType]:
    """Find the functions of ours that others of ours call during `use`, in every thread."""
    return [*_passed(use)]


def _passed(use: Callable[[], object], callers: tuple[str, ...] = OURS) -> dict[CodeType, set[str]]:
    seen = watch_seams(callers)
    try:
        use()
    finally:
        found = seen()
    return found


def watch_seams(callers: tuple[str, ...] = OURS) -> Callable[[], dict[CodeType, set[str]]]:
    """Do the same until what this returns is called: it gives them, and the names of threads.

    `callers` are folders: what is called from elsewhere is left out.
    """
    found: dict[CodeType, set[str]] = {}

    def see(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_back is not None:
            code = frame.f_code
            caller = frame.f_back.f_code.co_filename
            if code.co_filename.startswith(OURS) and caller.startswith(callers):
                found.setdefault(code, set()).add(threading.current_thread().name)

    def seen() -> dict[CodeType, set[str]]:
        sys.setprofile(None)
        threading.setprofile(None)
        return {code: names for code, names in found.items() if _can_fail(code)}

    threading.setprofile(see)
    sys.setprofile(see)
    return seen


def _can_fail(code: CodeType) -> bool:
    if code.co_name.startswith("<") or {"guarded", "fault"} & set(code.co_names):
        return False
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return False
    names = _NEVER_FAIL.get(Path(code.co_filename).name, set())
    return names is not None and code.co_name not in names


def _functions(codes: list[CodeType]) -> dict[CodeType, list[FunctionType]]:
    """Find the functions that are there with each code."""
    found: dict[CodeType, list[FunctionType]] = {code: [] for code in codes}
    for function in frozen.functions():
        if function.__code__ in found:
            found[function.__code__].append(function)
    return {code: functions for code, functions in found.items() if functions}


@contextmanager
def broken(
    code: CodeType, functions: list[FunctionType], plain: CodeType = _plain.__code__
) -> Iterator[Callable[[], None]]:
    """Have every function with that code raise; gives what mends them."""

    def mend() -> None:
        for function in functions:
            function.__code__ = code

    body = _later.__code__ if code.co_flags & inspect.CO_COROUTINE else plain
    for function in functions:
        function.__code__ = body.replace(co_freevars=code.co_freevars)
    try:
        yield mend
    finally:
        mend()


def every_function() -> list[CodeType]:
    """Find the code of every function of ours that is there."""
    return list({function.__code__: None for function in frozen.functions()})


_mends: dict[CodeType, Callable[[], None]] = {}


def break_once(codes: list[CodeType]) -> None:
    """Have each of several functions raise when it is called first."""

    def break_one(code: CodeType, functions: list[FunctionType]) -> None:
        def mend() -> None:
            for function in functions:
                function.__code__ = code

        body = _later if code.co_flags & inspect.CO_COROUTINE else _plain
        broken = body.__code__.replace(
            co_freevars=code.co_freevars, co_name=code.co_name, co_filename=name_of(code)
        )
        _mends[broken] = mend
        for function in functions:
            function.__code__ = broken

    for code, functions in _functions(codes).items():
        break_one(code, functions)


def each_broken(
    use: Callable[[], object],
    *,
    once: bool = False,
    prepare: Callable[[], object] = int,
    callers: tuple[str, ...] = OURS,
) -> Iterator[CodeType]:
    """Have each seam of `use` raise, one after the other, while the body of the loop runs.

    With `once` it raises when it is called first, and then works. `prepare` is called before each.
    Tried is what is called from a file in one of the folders `callers`.
    """
    global reached, _mend
    found = _functions([*_passed(use, callers)])
    logging.disable(logging.CRITICAL)
    try:
        for code, functions in found.items():
            faults.reset()
            prepare()
            reached = 0
            with broken(code, functions) as mend:
                _mend = mend if once else None
                yield code
    finally:
        _mend = None
        logging.disable(logging.NOTSET)
        faults.reset()


def each_hanging(use: Callable[[], object], prepare: Callable[[], object]) -> Iterator[CodeType]:
    """Have each seam hang that threads of ours pass, in those, while the body of the loop runs.

    `prepare` is called before each.
    """
    global reached, _original
    passed = _passed(use)
    ours = [code for code, names in passed.items() if any(map(_is_of_ours, names))]
    logging.disable(logging.CRITICAL)
    try:
        for code, functions in _functions(ours).items():
            if len(functions) > 1:
                continue  # which of them is called is not known
            (hangs,) = functions
            _original = FunctionType(
                code, hangs.__globals__, hangs.__name__, hangs.__defaults__, hangs.__closure__
            )
            _original.__kwdefaults__ = hangs.__kwdefaults__
            faults.reset()
            prepare()
            reached = 0
            before = set(threading.enumerate())
            _goes_on.clear()
            try:
                with broken(code, functions, _hanging.__code__):
                    yield code
            finally:
                _goes_on.set()
                for thread in set(threading.enumerate()) - before:
                    thread.join(60)
    finally:
        logging.disable(logging.NOTSET)
        faults.reset()


def _is_of_ours(thread: str) -> bool:
    return thread.startswith(OUR_THREADS)


def walk(use: Callable[[], Any], *, count: Callable[[], Any]) -> list[str]:
    """Say what goes wrong with each seam of `use` broken; nothing, where all is well.

    `use` answers what the program gets, and has been used before. `count` says what was counted so
    far: a use after the fault is counted as one before it.
    """
    global reached
    answers, seen = use(), []
    found = seams(lambda: seen.append(use()))
    assert seen == [answers]
    before = count()
    use()
    usual = difference(before, count())
    problems = []
    logging.disable(logging.CRITICAL)
    try:
        for code, functions in _functions(found).items():
            faults.reset()
            reached = 0
            try:
                with broken(code, functions):
                    given = use()
            except Exception as error:
                problems.append(f"{name_of(code)}: reached the program: {error!r}")
            else:
                if given != answers:
                    problems.append(f"{name_of(code)}: {given!r} instead of {answers!r}")
                elif reached and not faults.fault_counts():
                    problems.append(f"{name_of(code)}: was told to nobody")
            use()  # which may yet pay for a call that the fault left unended
            before = count()
            use()
            if (now := difference(before, count())) != usual:
                problems.append(f"{name_of(code)}: afterwards {now} instead of {usual}")
    finally:
        logging.disable(logging.NOTSET)
        faults.reset()
    return problems


def difference(before: Any, after: Any) -> Any:
    """Subtract numbers within equal structures; what is not there before counts from 0."""
    if isinstance(after, dict):
        earlier = before if isinstance(before, dict) else {}
        return {key: difference(earlier.get(key), value) for key, value in after.items()}
    if isinstance(after, tuple):
        return tuple(map(difference, before or (0,) * len(after), after))
    return after - (before or 0) if isinstance(after, int) else after
