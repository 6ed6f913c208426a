"""Says on stdout what a program can see of its surroundings."""

import sys

SITECUSTOMIZE = "sitecustomize" in sys.modules
MEASURED = "metertap" in sys.modules

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402

sys.stderr.write("a line for stderr\n")
json.dump(
    {
        "measured": MEASURED,
        "pid": os.getpid(),
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "executable": sys.executable,
        "path": sys.path,
        "sitecustomize": SITECUSTOMIZE,
        "environ": dict(os.environ),
        "flags": str(sys.flags),
        "stdin": sys.stdin.read(),
        "streams": [str(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "cwd": os.getcwd(),
        "files": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [],
        "signals": {
            number.name: str(signal.getsignal(number))
            for number in signal.valid_signals()
            if isinstance(number, signal.Signals)
        },
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "hooks": str([sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile()]),
        "threads": [thread.name for thread in threading.enumerate()],
        "logging": str([logging.root.level, logging.root.handlers, logging.root.filters]),
    },
    sys.stdout,
)
