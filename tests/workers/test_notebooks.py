"""Notebooks: each kernel is a service of its own, with an address of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support.programs import started
from support.waiting import wait_for

KERNEL = """
import json, sys
import metertap

tap = metertap.instrument()
metertap.record_tool_call(sys.stdin.readline().strip(), True, 1.0)
for _ in sys.stdin:
    found = tap.snapshot()
    print(json.dumps([tap.json_url, found["service"]["name"], list(found["tool_metrics"])]))
    sys.stdout.flush()
"""
"""A module that is started by the command of a kernel, and then does what its notebook has."""


def test_two_notebooks_are_two_services(tmp_path: Path) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text(KERNEL)
    found = []
    with ExitStack() as stack:
        for name in ("sales", "stock"):
            kernel = stack.enter_context(
                started(
                    [sys.executable, "-m", "ipykernel_launcher", "-f", f"/run/kernel-{name}.json"],
                    env={"JPY_SESSION_NAME": f"/home/ada/{name}.ipynb", "METRICS_JSON_PORT": None},
                    cwd=tmp_path,
                )
            )
            _write(kernel, f"tool_of_{name}")
            found.append(wait_for(functools.partial(_answer, kernel)))
    assert [said[1:] for said in found] == [
        ["sales", ["tool_of_sales"]],
        ["stock", ["tool_of_stock"]],
    ]
    assert found[0][0] != found[1][0]


def _write(kernel: subprocess.Popen[bytes], line: str) -> None:
    assert kernel.stdin is not None
    kernel.stdin.write(f"{line}\n".encode())
    kernel.stdin.flush()


def _answer(kernel: subprocess.Popen[bytes]) -> list[Any] | None:
    """What the kernel says of itself, once it has an address."""
    _write(kernel, "")
    assert kernel.stdout is not None
    said: list[Any] = json.loads(kernel.stdout.readline())
    return said if said[0] else None
