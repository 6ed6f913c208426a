"""The start of metertap in the program that `metertap run` executes, before its first line.

`metertap run` puts this folder on PYTHONPATH. The file must be readable by any Python that the
program may turn out to be, so it is plain and imports nothing that could be missing.
"""

_is_guest = any(not name.startswith("__") for name in globals())

import os  # noqa: E402  # the line above must not see it
import sys  # noqa: E402


def _leave_no_trace():
    """Take this folder out of the path and, unless asked otherwise, out of that of children.

    Returns whether it was in the environment: a second interpreter of the same process finds this
    file on the path that the first one started with.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in entries:
        return False
    if not os.environ.get("METERTAP_RUN_CHILDREN"):
        others = [entry for entry in entries if entry != here]
        if others or len(entries) > 1:  # twice: there was an empty PYTHONPATH
            os.environ["PYTHONPATH"] = os.pathsep.join(others)
        else:
            del os.environ["PYTHONPATH"]
    return True


def _is_housekeeping():
    """Return whether this process is the standard library's own and runs no program."""
    mark = "from multiprocessing.resource_tracker "
    return any(word.startswith(mark) for word in getattr(sys, "orig_argv", ()))


def _hosts_on_path():
    """Return the entries of the path whose `sitecustomize` is being executed, this one's aside."""
    folders, frame = set(), sys._getframe()
    while frame is not None:
        folder, name = os.path.split(frame.f_code.co_filename)
        if name == "sitecustomize.py":
            folders.add(folder)
        frame = frame.f_back
    return [entry for entry in sys.path if entry in folders]


def _start():
    """Start, with Ctrl-C ending the process by SIGINT meanwhile, as it would end the program.

    Python ends with status 1 and a dump where what it imports before the program is interrupted.
    """
    try:
        import _signal

        is_default = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        if is_default:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    except Exception:  # Python 2, or a second interpreter of the process
        is_default = False
    try:
        _measure()
    finally:
        if is_default:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _measure():
    try:
        before = set(sys.modules)
        from metertap.run.start import start

        start(before, _failed)
    except (Exception, SystemExit) as error:  # a package may give up as it is imported
        _failed(error)


def _failed(error):
    """Warn that the program runs unmeasured, whatever is wrong with metertap."""
    instead = ", or name a Python that has it: metertap run -- %s" % _python if _python else ""
    _say(
        "metertap: the program runs unmeasured, because %s cannot import metertap (%s: %s); "
        "it has to be installed there, too%s\n"
        % (sys.executable, type(error).__name__, error, instead)
    )


def _say(message):
    try:
        sys.stderr.write(message)
    except Exception:  # noqa: S110  # it may be None, or a pipe that nobody reads
        pass


_python = os.environ.pop("METERTAP_RUN_PYTHON", "")  # where `python` was named without a path
_ours = _leave_no_trace()
_this = sys.modules.pop("sitecustomize", None)  # kept: Python 2 empties a module that nobody holds
# A tracer's own `sitecustomize` may look for the next one and execute it inside itself. It stays
# the module of that name, and an error would end it. Its folder may still be on the path, where it
# would be found, and executed, once more.
_is_guest = _is_guest or _this is None or vars(_this) is not globals()
_hosts = _hosts_on_path() if _is_guest else []
sys.path[:] = [entry for entry in sys.path if entry not in _hosts]
try:
    # The environment's own module, which this file hid. Where there is none, the error tells Python
    # that there is no such module, this one included; any other error is the environment's own.
    import sitecustomize
except ImportError as _error:
    if not _is_guest or getattr(_error, "name", None) != "sitecustomize":
        raise
finally:
    sys.path[:0] = _hosts
    if _is_guest and _this is not None:
        sys.modules["sitecustomize"] = _this
    if _ours and not _is_housekeeping():
        _start()
