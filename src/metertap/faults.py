"""Faults of metertap's own: swallowed, counted, and reported once for each place.

Whatever goes wrong inside metertap must not reach the program that it measures. Code that could
fail runs under `guarded("place")`; the counts are published as the metric `metertap.errors`.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import TYPE_CHECKING, TypeVar

from metertap import locks
from metertap.signal_mask import OF_WRITING, signals_kept_away
from metertap.text import printable, without_paths, without_secrets
from metertap.threads import PlainThread

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the built-in part of `signal`, which is also there while Python finalises

logger = logging.getLogger("metertap")
"""The one logger. Python sends its warnings to stderr unless the program says otherwise."""

SETTING = "setting "
"""The beginning of the keys of warnings about settings."""
S = TypeVar("S")
T = TypeVar("T")

_MOST_WARNED = 1000
"""The most different warnings of a kind that are logged once; later ones are not logged."""
_SHOWN_LENGTH = 200
_NO_THREAD = "can't create new thread at interpreter shutdown"
_THREAD = "metertap-log"
_PACKAGES = {"metertap", "metertap_exporters", "metertap_instrumentation"}
traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__[
    "__traceback__"
].__get__
"""Returns an exception's traceback without calling code of its class, which may raise."""
_TAKES_ANY = 4  # CO_VARARGS
_CALLERS = 5
"""The longest chain of calls from a signal handler to the function that raises."""
_LOG_SECONDS = 1.0
"""The longest, in seconds, that a logging handler of the program delays a call."""

# Reentrant: a finaliser or a signal handler may log while this thread holds the lock.
_lock = locks.rlock()
_counts: dict[str, int] = {}
_warned: set[str] = set()
_warned_of: dict[str, int] = {}
"""The number of these keys of each kind, which is a key's first word."""
_logging: set[threading.Thread] = set()
"""Threads that are handling a log record now."""


class guarded:  # lower case: `with guarded("json.collect"):`
    """Context manager that swallows an exception of metertap's own and counts it under `place`."""

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception) or is_of_a_signal(error):
            return False
        fault(self._place, error)
        return True


def is_of_a_signal(error: BaseException) -> bool:
    """Return whether a signal handler of the program has raised `error`. Never raises.

    Python calls handlers between any two steps of the main thread, also within metertap's code. The
    frame of one is recognised by its code or, if the handler was wrapped, by its arguments: the
    signal's number, and the interrupted frame, from which the handler is called.
    """
    try:
        return _has_handler(error)
    except Exception:  # at the recursion limit, or because of odd objects in the program's frames
        return False


def _has_handler(error: BaseException) -> bool:
    traceback = traceback_of(error)
    handlers = set(map(_code_of, map(_signal.getsignal, _signal.valid_signals())))
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
        if frame.f_code in handlers:
            return True
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _PACKAGES:
            continue
        given = _arguments(frame)
        for number, one in pairwise(given):
            if isinstance(number, int) and type(one) is FrameType and _is_called_from(frame, one):
                return True
    return False


def _code_of(handler: object) -> CodeType | None:
    """Return the code that Python runs first for a signal; None for a handler written in C."""
    while type(handler) is partial:
        handler = handler.func
    for one in (handler, getattr(handler, "__func__", None), type(handler).__call__):
        if type(one) is FunctionType:
            return one.__code__
    return None


def _arguments(frame: FrameType) -> list[object]:
    """Return the positional arguments that a function was called with, in their order."""
    code = frame.f_code
    count = code.co_argcount
    values = frame.f_locals
    found = [values.get(name) for name in code.co_varnames[:count]]
    if code.co_flags & _TAKES_ANY:
        more = values.get(code.co_varnames[count + code.co_kwonlyargcount])
        # The function may have put anything in its place, which could be iterated without end.
        found += more if type(more) is tuple else ()
    return found


def _is_called_from(frame: FrameType, other: FrameType) -> bool:
    """Return whether `other` is among the nearest callers: a handler may call another handler."""
    caller = frame.f_back
    for _ in range(_CALLERS):
        if caller is None or caller is other:
            break
        caller = caller.f_back
    return caller is other


def kept(place: str, make: Callable[[], T], otherwise: S) -> S | T:
    """Return the result of `make`, or `otherwise` if it raises, which is a fault at `place`."""
    with guarded(place):
        return make()
    return otherwise


def each(place: str, make: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield `make(item)` for each item, but for those at which it raises: each is a fault."""
    for item in items:
        try:
            made = make(item)
        except Exception as error:
            fault(place, error)
        else:
            yield made


def fault(place: str, reason: BaseException | str) -> None:
    """Count one fault at `place`; the first one there is also a warning that gives `reason`.

    Never raises, since no caller could catch that. Only interrupts pass: Ctrl-C, SystemExit, and
    what a signal handler of the program raises, such as its time limit. That Python 3.12 and later
    start no thread while they finalise is no fault.
    """
    if isinstance(reason, BaseException) and (
        not isinstance(reason, Exception) or is_of_a_signal(reason)
    ):
        raise reason
    try:
        if isinstance(reason, RuntimeError) and str(reason) == _NO_THREAD:
            return
        with _lock:
            first = place not in _counts
            _counts[place] = _counts.get(place, 0) + 1
        if first:
            if isinstance(reason, BaseException):
                reason = f"{type(reason).__qualname__}: {shown(reason, str)}"
            warn("%s: %s (counted in metertap.errors, told once)", place, reason)
    except Exception:  # noqa: S110  # there is no other way left to count or report it
        pass


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning about the program's surroundings (a setting, a port) one time only.

    Some keys have names that a program may take from its clients, so the number of those with the
    same first word is limited. Warnings of other kinds are still logged.
    """
    kind = key.partition(" ")[0]
    with _lock:
        count = _warned_of.get(kind, 0)
        if key in _warned or count >= _MOST_WARNED:
            return
        _warned.add(key)
        _warned_of[kind] = count + 1
    warn(message, *args)


def was_warned(key: str) -> bool:
    """Return whether `warn_once` has logged a warning under this key."""
    return key in _warned


def warn(message: str, *args: object) -> None:
    """Log a warning. A program that has set up no logging shows its text and nothing else."""
    _log(logging.WARNING, message, args)


def info(message: str, *args: object) -> None:
    """Log a message of no urgency. Only a program that has set up logging shows it."""
    _log(logging.INFO, message, args)


def shows_info() -> bool:
    """Return whether the program has set up logging that shows what `info` logs."""
    return _is_shown(logging.INFO) and logger.hasHandlers()


def _log(level: int, message: str, args: tuple[object, ...]) -> None:
    """Log a message that begins with `metertap:`, and wait for its handlers a moment at most.

    Not every log format shows the logger's name. The handlers are the program's: one that sends
    errors over a network may hang, and metertap often logs within a call of the program.
    """

    def log() -> None:
        try:
            logger.log(level, f"metertap: {message}", *map(_safe, args))
        except Exception:  # noqa: S110  # there is no other way left to report it
            pass
        finally:
            _logging.discard(thread)

    if not _is_shown(level):
        return
    context = contextvars.copy_context()  # context variables that a handler may read
    seconds = 0.0 if _logging else _LOG_SECONDS  # a handler hangs already
    thread = threading.current_thread()
    try:
        thread = PlainThread(target=context.run, args=(log,), name=_THREAD, daemon=True)
        _logging.add(thread)
        with signals_kept_away(*OF_WRITING):  # a handler may write to a closed pipe
            thread.start()
    except RuntimeError:  # no thread can start in a subinterpreter, or while Python 3.12 finalises
        log()
    else:
        thread.join(seconds)
        if thread.ident is None:  # it found no memory
            _logging.discard(thread)


def _is_shown(level: int) -> bool:
    """Return whether the program's logging wants messages of this level.

    `isEnabledFor` waits for the lock of `logging`, which a program holds while it makes handlers.
    """
    is_off = logger.disabled or level <= logger.manager.disable
    return not is_off and level >= logger.getEffectiveLevel()


def leave_handlers() -> None:
    """Give the program's logging handlers new locks if one of them hangs as the process ends.

    `logging` would wait at exit for the lock that a handler holds while it handles a record.
    """
    current: logging.Logger | None = logger if _logging else None
    while current is not None:
        for handler in current.handlers:
            handler.createLock()
        current = current.parent if current.propagate else None


def _safe(value: object) -> object:
    """Return an argument of a message as one line without secrets; numbers stay numbers."""
    return value if isinstance(value, int | float) else printable(without_secrets(str(value)))


def shown(value: object, text_of: Callable[[object], str] = repr) -> str:
    """Show `value` in a warning: as one line of bounded length, without secrets. Never raises.

    The paths of addresses in it are not shown either.
    """
    try:
        text = without_paths(without_secrets(text_of(value)))
    except Exception:
        return f"<{type(value).__qualname__}>"
    return printable(text, _SHOWN_LENGTH)


def fault_counts() -> dict[str, int]:
    """Return the number of faults so far, by place."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Forget all counts and warnings."""
    _counts.clear()
    _warned.clear()
    _warned_of.clear()
    _logging.clear()


def forked() -> None:
    """Forget counts and warnings in a forked child, except its parent's warnings of settings."""
    told = {key for key in _warned if key.startswith(SETTING)}
    reset()
    _warned.update(told)
    _warned_of[SETTING.strip()] = len(told)
