"""Starts the server under `metertap run`, and the client that checks its metrics.

Both use free ports of 127.0.0.1. The exit status is that of the client.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
settings = {"METERTAP_CONFIG": str(HERE / "metertap.toml"), "METRICS_JSON_PORT": port}
with subprocess.Popen(
    [sys.executable, "-m", "metertap", "run", "--", sys.executable, HERE / "server.py"],
    env={**os.environ, **settings},
    stdout=subprocess.PIPE,
    text=True,
) as server:
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        command = [sys.executable, HERE / "client.py", url, f"http://127.0.0.1:{port}/metrics"]
        status = subprocess.run(command, check=False).returncode
    finally:
        server.terminate()
sys.exit(status)
