"""A program between an MCP client and a server: passes every byte on, and keeps what was sent.

`python wire_recorder.py FILE CMD …` appends what the server writes to FILE.
"""

from __future__ import annotations

import subprocess
import sys

with open(sys.argv[1], "ab", buffering=0) as kept:
    server = subprocess.Popen(sys.argv[2:], stdin=0, stdout=subprocess.PIPE)
    assert server.stdout is not None
    for line in server.stdout:
        kept.write(line)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    sys.exit(server.wait())
