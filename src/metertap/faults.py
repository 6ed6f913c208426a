"""Faults of our own: swallowed, counted, and told once a place.

Whatever goes wrong inside metertap must not reach the program that it measures. Each place
that could fail runs under `guarded`, and the counts leave as `metertap.errors`: the meter
meters itself.
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

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # what is built in of it, which is also there while Python ends

logger = logging.getLogger("metertap")
"""The one logger. Python sends its warnings to stderr unless the program says otherwise."""

SETTING = "setting "
"""The beginning of the keys of warnings about settings."""
S = TypeVar("S")
T = TypeVar("T")

_SHOWN_LENGTH = 200
_NO_THREAD = "can't create new thread at interpreter shutdown"
_THREAD = "metertap-log"
_PACKAGES = {"metertap", "metertap_exporters", "metertap_instrumentation"}
traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__[
    "__traceback__"
].__get__
"""Returns an exception's traceback without asking its class, whose own way may raise."""
_TAKES_ANY = 4  # CO_VARARGS
_CALLERS = 5
"""The most handlers that call each other before the one that raises."""
_LOG_SECONDS = 1.0
"""The longest that a handler of the program's delays whoever comes here."""

# Reentrant: a finaliser or a signal handler may come here while this thread is inside.
_lock = locks.rlock()
_counts: dict[str, int] = {}
_warned: set[str] = set()
_logging: set[threading.Thread] = set()
"""Threads in which a record is being handled."""


class guarded:  # lower case: `with guarded("json.collect"):`
    """Run a block of ours; an exception of it is counted under `place` and goes no further."""

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
        if not isinstance(error, Exception) or _is_of_a_signal(error):
            return False
        fault(self._place, error)
        return True


def _is_of_a_signal(error: BaseException) -> bool:
    """Return whether a signal handler of the program has raised `error`. Never raises.

    Python calls one between any two steps of the main thread, also in the middle of ours. It is
    told by its code, or, where it was put in the place of another one, by its arguments: the number
    of a signal, and the frame that was interrupted, which it is called from.
    """
    try:
        return _has_handler(error)
    except Exception:  # at the limit of recursion, or what the program has in its frames is odd
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
    """Return the code that Python runs first for a signal; None where that is none of Python's."""
    while type(handler) is partial:
        handler = handler.func
    for one in (handler, getattr(handler, "__func__", None), type(handler).__call__):
        if type(one) is FunctionType:
            return one.__code__
    return None


def _arguments(frame: FrameType) -> list[object]:
    """Return the arguments that a function was called with, by position, in their order."""
    code = frame.f_code
    count = code.co_argcount
    values = frame.f_locals
    found = [values.get(name) for name in code.co_varnames[:count]]
    if code.co_flags & _TAKES_ANY:
        found += values.get(code.co_varnames[count + code.co_kwonlyargcount], ())
    return found


def _is_called_from(frame: FrameType, other: FrameType) -> bool:
    """Return whether `other` is one of the nearest callers: a handler may call another one."""
    caller = frame.f_back
    for _ in range(_CALLERS):
        if caller is None or caller is other:
            break
        caller = caller.f_back
    return caller is other


def kept(place: str, make: Callable[[], T], otherwise: S) -> S | T:
    """Return what `make` makes, or `otherwise` where a fault of ours prevents that."""
    with guarded(place):
        return make()
    return otherwise


def each(place: str, make: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Make something of each item; a fault of ours costs the one at which it happens."""
    for item in items:
        try:
            made = make(item)
        except Exception as error:
            fault(place, error)
        else:
            yield made


def fault(place: str, reason: BaseException | str) -> None:
    """Count one fault at `place`; the first one there is also a warning that gives `reason`.

    Never raises: it is called where an exception has nobody left to catch it. What passes is an
    interrupt: Ctrl-C, an end, and what a signal handler of the program raised just then, such as
    its time limit. That Python 3.12 and later start no thread while they end is no fault.
    """
    if isinstance(reason, BaseException) and (
        not isinstance(reason, Exception) or _is_of_a_signal(reason)
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
    except Exception:  # noqa: S110  # nothing is left that could count or tell it
        pass


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning about the program's surroundings (a setting, a port) one time only."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    warn(message, *args)


def was_warned(key: str) -> bool:
    """Return whether `warn_once` has logged a warning under this key."""
    return key in _warned


def warn(message: str, *args: object) -> None:
    """Log a warning. A program that has set up no logging shows its text and nothing else."""
    _log(logging.WARNING, message, args)


def info(message: str, *args: object) -> None:
    """Log what may be of interest. Only a program that has set up logging shows it."""
    _log(logging.INFO, message, args)


def shows_info() -> bool:
    """Return whether the program has set up logging that shows what `info` logs."""
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


def _log(level: int, message: str, args: tuple[object, ...]) -> None:
    """Log with our name in the text, which not every format shows, and wait for that a moment.

    The handlers are the program's. One that sends errors over a network may hang, and whoever comes
    here is often in the middle of a call of the program's.
    """

    def log() -> None:
        try:
            logger.log(level, f"metertap: {message}", *map(_safe, args))
        except Exception:  # noqa: S110  # nowhere is left to say so
            pass
        finally:
            _logging.discard(thread)

    if not logger.isEnabledFor(level):
        return
    context = contextvars.copy_context()  # what a handler may add to the record
    seconds = 0.0 if _logging else _LOG_SECONDS  # one hangs already
    thread = threading.current_thread()
    try:
        thread = threading.Thread(target=context.run, args=(log,), name=_THREAD, daemon=True)
        _logging.add(thread)
        with signals_kept_away(*OF_WRITING):  # handlers write where nobody may read any more
            thread.start()
    except RuntimeError:  # there are none in a subinterpreter, and while Python 3.12 ends
        log()
    else:
        thread.join(seconds)


def leave_handlers() -> None:
    """Give the program's handlers new locks where one of them hangs, at the end of the process.

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

    Of addresses in it the path is not shown either.
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
    _logging.clear()


def forked() -> None:
    """Forget counts and warnings in a forked child, except its parent's warnings of settings."""
    told = {key for key in _warned if key.startswith(SETTING)}
    reset()
    _warned.update(told)
