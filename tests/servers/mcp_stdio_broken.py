"""An MCP server on stdio, in one fork after the other, in which functions of metertap raise.

Each function raises when it is called first, and then works. As many as are tried in one process
are broken in it to its end, exit handlers included. Prints, as JSON, how each fork ended: its
answers, its exit status, and the time from the end of its stdin to its own.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import sys
import time
from types import CodeType
from typing import Any

import metertap
from metertap import faults
from support import breaking
from support.json_rpc import SESSION

BATCHES = 4


def serve() -> None:
    """Serve what stdin asks for, and return at its end."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "run", "programs"))
    import shop

    shop.shop.run("stdio")


def forked(codes: list[CodeType] | None, *, measured: bool = True) -> dict[str, Any]:
    """Fork a server, speak with it, and tell how it ended. Without `codes` it looks for seams."""
    asks, asked = os.pipe(), os.pipe()
    tells = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(asks[0], 0)
        os.dup2(asked[1], 1)
        for end in (*asks, *asked, tells[0]):
            os.close(end)

        seen = breaking.watch_seams() if codes is None else list

        def tell() -> None:
            modules = [name for name in sys.modules if name.startswith("metertap")]
            names = [breaking.name_of(code) for code in seen()]
            found = [names, modules, faults.fault_counts()]
            os.write(tells[1], json.dumps(found).encode())

        atexit.register(tell)  # first, and so called last
        if measured:
            metertap.instrument()  # what is broken there leaves the program unmeasured
        breaking.break_once(codes or [])
        serve()
        sys.exit(0)
    for end in (asks[0], asked[1], tells[1]):
        os.close(end)
    answers = b""
    with os.fdopen(asks[1], "wb", 0) as to, os.fdopen(asked[0], "rb") as of:
        for number, (method, params) in enumerate(SESSION):
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
            if params is not None:
                message.update(id=number, params=params)
            to.write(json.dumps(message).encode() + b"\n")
            answers += of.readline() if params is not None else b""
        to.close()
        began = time.perf_counter()
        answers += of.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(tells[0], "rb") as told:
        names, modules, counted = json.loads(told.read() or b"[null, null, null]")
    return {
        "answers": answers.decode(),
        "status": status,
        "seconds": time.perf_counter() - began,
        "seams": names,
        "modules": modules,
        "faults": counted,
    }


def main() -> None:
    usual = forked([], measured=False)
    looked = forked(None)
    for module in looked["modules"]:  # so that its functions are there before the next fork
        importlib.import_module(module)
    there = {breaking.name_of(code): code for code in breaking.every_function()}
    codes = [there[name] for name in looked["seams"] if name in there]
    batches = [codes[start::BATCHES] for start in range(BATCHES)]
    found = [
        {**forked(batch), "seams": [breaking.name_of(code) for code in batch]} for batch in batches
    ]
    json.dump([usual, found], sys.stdout)


if __name__ == "__main__":
    main()
