"""Starts children in every way that Python has, and prints what each says of itself."""

import multiprocessing
import os
import signal
import subprocess
import sys

import metertap

IS_MEASURED = "import sys; print('metertap' in sys.modules, flush=True)"


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def in_child(numbers: "multiprocessing.SimpleQueue[int]") -> None:
    metertap.record_tool_call("child", True, 1.0)
    numbers.put(metertap.get_all_metrics()["tool_metrics"]["child"]["total_calls"])


if __name__ == "__main__":
    metertap.record_tool_call("parent", True, 1.0)
    subprocess.run([sys.executable, "-c", IS_MEASURED], check=True)
    os.system(f'"{sys.executable}" -c "{IS_MEASURED}"')
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        child = context.Process(target=in_child, args=(queue,))
        child.start()
        say(method, queue.get())
        child.join()
        say(child.exitcode)
    waiting = multiprocessing.get_context("fork").Process(target=signal.pause)
    waiting.start()
    waiting.terminate()
    waiting.join()
    say("terminated", waiting.exitcode)
    say(list(metertap.get_all_metrics()["tool_metrics"]))
