"""`python -m benchmarks.tokens`: bytes a token, over what published MCP servers define and answer.

Each server is fetched and started by `uvx` or `npx`, with a recorder before it. Its definitions, as
`metertap weight` measures them, are held against the recorded bytes; then a few of its tools are
called, which change nothing outside of a folder of their own. Tokens are counted by `o200k_base`
(extra `tokens`). The table shows by how much the estimate of `metertap.weight.tokens` is wrong.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metertap.cli.weight.session import Deadline, Listing, Transport, Unusable, listing
from metertap.cli.weight.stdio import started
from metertap.weight import tokens
from metertap.weight.results import of_content

ROOT = Path(__file__).parents[1]
_RECORDER = ROOT / "tests" / "servers" / "wire_recorder.py"
_SECONDS = 240.0

Call = tuple[str, dict[str, Any]]


class Server(NamedTuple):
    """A published server, and calls of its tools; `FOLDER` in them is a folder of its own."""

    package: str
    command: Sequence[str]
    calls: Sequence[Call]


def _uvx(package: str, *arguments: str, calls: Sequence[Call] = (), sdk: str = "mcp") -> Server:
    return Server(package, ("uvx", "--with", sdk, package, *arguments), calls)


def _npx(package: str, *arguments: str, calls: Sequence[Call] = ()) -> Server:
    name = f"@modelcontextprotocol/{package}"
    return Server(name, ("npx", "-y", name, *arguments), calls)


_THOUGHT = {"thought": "Sort by size.", "thoughtNumber": 1, "totalThoughts": 2}
SERVERS = (
    _uvx(
        "mcp-server-time",
        calls=[
            ("get_current_time", {"timezone": "Asia/Tokyo"}),
            (
                "convert_time",
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Europe/Rome"},
            ),
        ],
    ),
    _uvx(
        "mcp-server-git",
        calls=[
            ("git_log", {"repo_path": "FOLDER", "max_count": 20}),
            ("git_status", {"repo_path": "FOLDER"}),
            ("git_show", {"repo_path": "FOLDER", "revision": "HEAD"}),
        ],
    ),
    _uvx("mcp-server-fetch", calls=[("fetch", {"url": "http://127.0.0.1:1/"})]),
    _uvx(
        "mcp-server-sqlite",
        "--db-path",
        "FOLDER/data.db",
        calls=[
            ("list_tables", {}),
            ("describe_table", {"table_name": "files"}),
            ("read_query", {"query": "SELECT * FROM files"}),
        ],
        sdk="mcp<2",
    ),
    _uvx("mcp-server-calculator", calls=[("calculate", {"expression": "sqrt(2) * 10 ** 6"})]),
    _uvx(
        "mcp-text-editor",
        calls=[
            (
                "get_text_file_contents",
                {"files": [{"file_path": "FOLDER/README.md", "ranges": [{"start": 1}]}]},
            )
        ],
        sdk="mcp<2",
    ),
    _uvx("arxiv-mcp-server", "--storage-path", "FOLDER"),
    _uvx("excel-mcp-server", "stdio"),
    _npx("server-everything", calls=[("echo", {"message": "hello"})]),
    _npx(
        "server-filesystem",
        "FOLDER",
        calls=[
            ("list_directory_with_sizes", {"path": "FOLDER"}),
            ("directory_tree", {"path": "FOLDER/docs"}),
            ("read_text_file", {"path": "FOLDER/README.md"}),
        ],
    ),
    _npx("server-memory", calls=[("read_graph", {})]),
    _npx(
        "server-sequential-thinking",
        calls=[("sequentialthinking", {**_THOUGHT, "nextThoughtNeeded": True})],
    ),
)


class Weighed(NamedTuple):
    """The bytes of something, and the tokens that were counted."""

    bytes: int = 0
    tokens: int = 0

    def __add__(self, other: Any) -> Weighed:
        return Weighed(self.bytes + other.bytes, self.tokens + other.tokens)

    @property
    def ratio(self) -> float | None:
        return self.bytes / self.tokens if self.tokens else None

    def error(self, ratio: float) -> float | None:
        """By how many percent the estimate by `ratio` is too high."""
        return 100 * (self.bytes / ratio / self.tokens - 1) if self.tokens else None


def main() -> int:
    """Print the table; return 1 if a byte differs, or fewer than eight servers were weighed."""
    count = tokens.counter()
    if count is None:
        sys.exit("the extra `tokens` is needed")
    wanted = sys.argv[1:]
    definitions, results = Weighed(), Weighed()
    errors: tuple[list[float], list[float]] = ([], [])
    weighed = 0
    print("| server | tools | definitions, bytes | tokens | ≈ off by | results, bytes | ≈ off by |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for server in SERVERS:
        if wanted and server.package not in wanted:
            continue
        try:
            found, texts = _asked(server)
        except (Unusable, OSError) as problem:
            print(f"{server.package}: {problem}", file=sys.stderr)
            continue
        weighed += 1
        own = Weighed(
            sum(tool.size.total for tool in found.tools),
            sum(count(tool.text) for tool in found.tools),
        )
        answered = Weighed(
            sum(len(text.encode()) for text in texts), sum(count(text) for text in texts)
        )
        definitions, results = definitions + own, results + answered
        off = own.error(tokens.BYTES_PER_TOKEN_OF_DEFINITIONS)
        off_results = answered.error(tokens.BYTES_PER_TOKEN_OF_RESULTS)
        for kept, value in zip(errors, (off, off_results), strict=True):
            if value is not None:
                kept.append(abs(value))
        shown = f"{found.version}" if found.version else ""
        print(
            f"| {server.package} {shown} | {len(found.tools)} | {own.bytes} | {own.tokens} "
            f"| {_percent(off)} | {answered.bytes} | {_percent(off_results)} |",
            flush=True,
        )
    for name, whole, of in zip(
        ("definitions", "results"), (definitions, results), errors, strict=True
    ):
        if of:
            print(
                f"\n{name}: {whole.bytes} bytes, {whole.tokens} tokens, {whole.ratio:.2f} bytes a "
                f"token; the estimate of one server is off by {sum(of) / len(of):.0f} % in the "
                f"mean, {max(of):.0f} % at most"
            )
    return 0 if weighed >= min(8, len(wanted) or 8) else 1


def _asked(server: Server) -> tuple[Listing, list[str]]:
    """Return what a server lists, compared with the recorded bytes, and texts that it answered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder)
        kept = folder / "recorded"
        command = [part.replace("FOLDER", name) for part in server.command]
        recorder = [sys.executable, "-S", str(_RECORDER), str(kept)]
        with started([*recorder, *command], Deadline(_SECONDS)) as transport:
            found = listing(transport)
            _compare(found, kept)
            texts = [
                text
                for number, call in enumerate(server.calls)
                for text in _texts(transport, number, call, name)
            ]
    return found, texts


def _compare(found: Listing, kept: Path) -> None:
    """Raise Unusable unless the list of tools is made of the definitions that were weighed."""
    line = next(line for line in kept.read_bytes().splitlines() if b'"tools":[' in line)
    begins = line.index(b'"tools":[') + len(b'"tools":[')
    sent = b",".join(tool.text.encode() for tool in found.tools)
    sizes = sum(tool.size.total for tool in found.tools) + max(0, len(found.tools) - 1)
    if not line[begins:].startswith(sent + b"]") or len(sent) != sizes:
        raise Unusable("what was weighed is not what is on the wire")


def _texts(transport: Transport, number: int, call: Call, folder: str) -> list[str]:
    name, arguments = call
    written = json.dumps(arguments).replace("FOLDER", folder)
    params = {"name": name, "arguments": json.loads(written)}
    asked = f"call {number}"
    transport.send({"jsonrpc": "2.0", "id": asked, "method": "tools/call", "params": params})
    while (message := json.loads(transport.receive())).get("id") != asked:
        pass
    content = message["result"]["content"]
    texts = [block["text"] for block in content if block["type"] == "text"]
    if len(texts) == len(content) and of_content(content) != sum(len(t.encode()) for t in texts):
        raise Unusable(f"the result of {name} is not weighed to the byte")
    return texts


def _fill(folder: Path) -> None:
    """Make a repository with this project's documentation in it, and a small database."""
    shutil.copy(ROOT / "README.md", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.png", "*.svg"))
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "README.md", "docs"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Documentation"], check=True)
    with sqlite3.connect(folder / "data.db") as database:
        database.execute("CREATE TABLE files (name TEXT, bytes INTEGER)")
        rows = [(path.name, path.stat().st_size) for path in (folder / "docs").glob("*.md")]
        database.executemany("INSERT INTO files VALUES (?, ?)", rows)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.0f} %"


if __name__ == "__main__":
    sys.exit(main())
