"""Starts metertap in the program that `metertap run` executes, before its first line.

`metertap run` puts this folder on PYTHONPATH. The file must be readable by any Python that the
program may turn out to be, so it is plain and imports nothing that could be missing.
"""

import os
import sys


def _leave_no_trace():
    """Take this folder out of the path, and, unless asked otherwise, out of the children's."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    if os.environ.get("METERTAP_RUN_CHILDREN"):
        return
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    entries = [entry for entry in entries if entry and os.path.abspath(entry) != here]
    if entries:
        os.environ["PYTHONPATH"] = os.pathsep.join(entries)
    else:
        os.environ.pop("PYTHONPATH", None)


def _run_the_shadowed_one():
    """The environment may have a sitecustomize of its own; ours stood in front of it."""
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize
    except ImportError:
        pass
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _start():
    try:
        from metertap.run_hook import start
    except ImportError as error:
        sys.stderr.write(
            "metertap: the program runs unmeasured, because %s cannot import metertap (%s); "
            "install it there: %s -m pip install metertap\n"
            % (sys.executable, error, sys.executable)
        )
    else:
        start()


_leave_no_trace()
_run_the_shadowed_one()
_start()
