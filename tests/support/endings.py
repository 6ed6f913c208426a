"""Programs that end in every way that there is, and the environment in which nothing else pushes.

The interval between two exports is ten minutes here, so that what arrives was pushed because the
process ended.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from servers.otlp_receiver import Receiver
from support.programs import Ended, ended, started

CALLS = 300
PRELUDE = f"""
import asyncio, concurrent.futures, multiprocessing, os, select, signal
import subprocess, sys, threading, time
import metertap
{{instrument}}

@metertap.tool
def search():
    pass

def work(*_):
    for _ in range({CALLS}):
        search()

def wait_for_a_signal():
    # signal.pause() waits for ever where the signal has come just before it.
    select.select([woken], [], [])

def ready(pause=wait_for_a_signal):
    global woken
    if pause is wait_for_a_signal:
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
    os.write(1, b"ready\\n")
    pause()

"""
IN_CHILD = """
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    {body}
"""
WORKS_AND_WAITS = """
def work_and_wait(told):
    work()
    told.set()
    time.sleep(60)
"""


@dataclass(frozen=True)
class Ending:
    """A program, and the signal that it gets once it has said that it is ready."""

    name: str
    code: str
    sent: signal.Signals | None = None
    status: int = 0

    def __str__(self) -> str:
        return self.name


def child(name: str, method: str, body: str, before: str = "", status: int = 0) -> Ending:
    return Ending(name, before + IN_CHILD.format(method=method, body=body), status=status)


RUN = "p = context.Process(target=work); p.start(); p.join(); sys.exit(p.exitcode)"
TERMINATED = (
    "told = context.Event(); p = context.Process(target=work_and_wait, args=(told,)); "
    "p.start(); told.wait(60); p.terminate(); p.join(); sys.exit(-p.exitcode)"
)
POOL = "with context.Pool(1) as pool: pool.apply(work)"
EXECUTOR = (
    "with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool: "
    "pool.submit(work).result()"
)
CELERYS_POOL = """
from billiard.pool import Pool
pool = Pool(1, maxtasksperchild=1)
pool.apply(work)
pool.close()
pool.join()
"""
OWN_HANDLER = """
def mine(number, frame):
    os.write(1, b"mine\\n")
    sys.exit(7)
signal.signal(signal.SIGTERM, mine)
"""
CHAINED_HANDLER = """
def mine(number, frame):
    if callable(before):
        before(number, frame)
    sys.exit(7)
before = signal.signal(signal.SIGTERM, mine)
"""
RESTORED_HANDLER = """
def mine(number, frame):
    signal.signal(number, before)
    signal.raise_signal(number)
before = signal.signal(signal.SIGTERM, mine)
"""
DEFAULT_RESTORED = """
def mine(number, frame):
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
signal.signal(signal.SIGTERM, mine)
"""
DEFAULT_RESTORED_AND_KILLED = """
def mine(number, frame):
    os.kill(os.getpid(), 0)  # asks whether it is there
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
signal.signal(signal.SIGTERM, mine)
"""
ASKS_WHO_HANDLES = """
def mine(number, frame):
    if callable(before):
        before(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(9)
before = signal.getsignal(signal.SIGTERM)
assert before is signal.SIG_DFL
assert signal.signal(signal.SIGTERM, mine) is signal.SIG_DFL
assert signal.getsignal(signal.SIGTERM) is mine
"""
PUT_BACK = """
before = signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGTERM, before)
assert signal.getsignal(signal.SIGTERM) is before is signal.SIG_DFL
"""
HOLDS_A_LOCK = """
from metertap import state
held = "with lock:\\n  os.kill(os.getpid(), signal.SIGTERM)\\n  passed = list(range(1000))"
work()
exec(held, {"__name__": "metertap.held", "lock": state.recorder().lock, "os": os, "signal": signal})
signal.pause()
"""
IN_ASYNCIO = """
async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    work()
    ready(lambda: None)
    await ended.wait()
asyncio.run(main())
sys.exit(4)
"""
UNSHOWN = """
class Handler:
    def __call__(self, *_):
        os._exit(9)

    def __repr__(self):
        raise RuntimeError

signal.signal(signal.SIGINT, Handler())
"""
ENDINGS = [
    Ending("return", "work()"),
    Ending("sys.exit", "work(); sys.exit(3)", status=3),
    Ending("exception", "work(); raise ValueError", status=1),
    Ending("sys.exit with threads", "threading.Thread(target=work).start(); sys.exit(3)", None, 3),
    Ending(
        "sys.exit in a thread",
        "thread = threading.Thread(target=lambda: (work(), sys.exit(5))); "
        "thread.start(); thread.join()",
    ),
    Ending("an exit handler that raises", "import atexit; atexit.register(divmod, 1, 0); work()"),
    Ending("closed stdio", "work()\nfor number in range(3): os.close(number)"),
    Ending("KeyboardInterrupt", "work(); raise KeyboardInterrupt", None, -signal.SIGINT),
    Ending("SIGINT", "work(); ready()", signal.SIGINT, -signal.SIGINT),
    Ending("SIGTERM", "work(); ready()", signal.SIGTERM, -signal.SIGTERM),
    Ending(
        "SIGTERM while busy",
        "work(); ready(lambda: None)\nwhile True: pass",
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    # As where the signal interrupts metertap itself: the push needs the lock that is held there.
    Ending("SIGTERM, a lock held", HOLDS_A_LOCK, status=-signal.SIGTERM),
    Ending(
        "SIGTERM in an exit handler",
        "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGTERM); work()",
        status=-signal.SIGTERM,
    ),
    Ending(
        "SIGTERM in a long C call",
        "import hashlib; work()\n"
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**6); time.sleep(60)",
        status=-signal.SIGTERM,
    ),
    Ending("a tool in an exit handler", "import atexit; atexit.register(work)"),
    Ending("SIGHUP", "work(); ready()", signal.SIGHUP, -signal.SIGHUP),
    Ending("SIGTERM, own handler", OWN_HANDLER + "work(); ready()", signal.SIGTERM, 7),
    Ending("SIGTERM, chained handler", CHAINED_HANDLER + "work(); ready()", signal.SIGTERM, 7),
    Ending(
        "SIGTERM, a handler that asks who handled it before",
        ASKS_WHO_HANDLES + "work(); ready()",
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    Ending("SIGTERM, put back", PUT_BACK + "work(); ready()", signal.SIGTERM, -signal.SIGTERM),
    Ending("SIGTERM, in asyncio", IN_ASYNCIO, signal.SIGTERM, 4),
    Ending(
        "SIGTERM, raised again",
        RESTORED_HANDLER + "work(); ready()",
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    Ending(
        "SIGTERM, default restored",
        DEFAULT_RESTORED + "work(); ready()",
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    Ending(
        "SIGTERM, default restored and sent again",
        DEFAULT_RESTORED_AND_KILLED + "work(); ready()",
        signal.SIGTERM,
        -signal.SIGTERM,
    ),
    *(
        Ending(
            f"{number.name} sent to itself",
            f"work(); os.kill(os.getpid(), {number})",
            status=-number,
        )
        for number in (signal.SIGKILL, signal.SIGUSR1)
    ),
    Ending(
        "SIGTERM, ignored",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); work(); "
        "ready(lambda: (sys.stdin.read(), sys.exit(5)))",
        signal.SIGTERM,
        5,
    ),
    Ending("forked child", "pid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse: work()"),
    *(child(f"{method} child", method, RUN) for method in ("fork", "spawn", "forkserver")),
    *(
        child(f"{method} child terminated", method, TERMINATED, WORKS_AND_WAITS, signal.SIGTERM)
        for method in ("fork", "spawn", "forkserver")
    ),
    *(child(f"{method} pool", method, POOL) for method in ("fork", "spawn", "forkserver")),
    *(child(f"{method} executor", method, EXECUTOR) for method in ("fork", "spawn", "forkserver")),
    Ending("child of Celery's pool", CELERYS_POOL),
    Ending(
        "forked child, os._exit",
        "pid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse: work(); os._exit(0)",
    ),
    Ending("os._exit", "work(); os._exit(9)", status=9),
    Ending(
        "os._exit in a thread",
        "work(); threading.Thread(target=os._exit, args=(9,)).start(); time.sleep(60)",
        status=9,
    ),
    Ending(
        "os._exit in a signal's handler",
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(9)); work(); ready()",
        signal.SIGTERM,
        9,
    ),
    Ending("return with a handler that has no repr", UNSHOWN + "work()"),
    Ending(
        "os._exit in a handler that has no repr",
        UNSHOWN + "work(); ready()",
        signal.SIGINT,
        9,
    ),
]


def end(command: list[str], ending: Ending, **env: str) -> Ended:
    with started(command, env=env) as process:
        if ending.sent is not None:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(ending.sent)
        return ended(process)


def to(collector: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
