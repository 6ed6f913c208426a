"""`metertap weight`: definitions to the byte, and one clear line where there are none."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from metertap.cli import main
from metertap.cli.credentials import Credentials
from metertap.cli.weight import http, session
from metertap.cli.weight.report import as_markdown, report
from metertap.cli.weight.session import Deadline, Unusable
from metertap.weight.definitions import Definition, definition
from support import wire
from support.dripping import DRIPPING, dripping
from support.waiting import wait_for

ODD = Path(__file__).parents[1] / "servers" / "odd_mcp_server.py"


def odd(kind: str, *arguments: str) -> list[str]:
    return ["--", sys.executable, "-S", str(ODD), kind, *arguments]


def weighed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["weight", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.mcp
def test_a_published_server_agrees_with_the_wire_to_the_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mcp_server_git")
    server = shutil.which("mcp-server-git", path=str(Path(sys.executable).parent))
    assert server is not None
    recorded = tmp_path / "recorded"
    document = weighed(capsys, "--", *wire.recorder(recorded), server)
    sizes = wire.definitions(recorded)
    assert {tool["name"]: tool["definition_bytes"] for tool in document["tools"]} == sizes
    assert document["definition_bytes"] == sum(sizes.values())
    assert len(sizes) >= 12
    assert wire.results(recorded) == []  # no tool was run


def test_pages_spaces_escapes_and_other_alphabets_count_as_they_were_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = weighed(capsys, "--context", "1000", *odd("paged"))
    first, second = document["tools"]
    assert first["name"] == "search"
    schema = (
        '{"type": "object", "properties":{"description":{"type":"string"},'
        '"name":{"a":[1, 2.50, "}"]}}}'
    )
    description = '"Sucht \\u00fc ü \\"x\\""'
    whole = f'{{ "description" : {description} ,"name":"search", "inputSchema":{schema}}}'
    assert first["description_bytes"] == len(description.encode()) == 23
    assert first["schema_bytes"] == len(schema)
    assert first["definition_bytes"] == len(whole.encode())
    assert second["definition_bytes"] == len('{"name":"bare","inputSchema":{}}')
    assert second["description_bytes"] == 0
    assert document["definition_bytes"] == len(whole.encode()) + 32
    assert (document["prompts"], document["resources"]) == (2, 0)
    tokens = document["definition_tokens"]
    assert tokens == sum(tool["definition_tokens"] for tool in document["tools"]) > 0
    assert document["context_share"] == 100 * tokens / 1000


@pytest.mark.parametrize(
    ("text", "description", "schema"),
    [
        ("{}", 0, 0),
        (' {"a":{"description":"x"}} '.strip(), 0, 0),
        ('{"description":"", "parameters" : [ ] }', 2, 3),
        ('{"description":"one","description":"\\ud800"}', 8, 0),
        ('{"description":"\ud800"}', 5, 0),
        ('{\n\t"input_schema":\r{"description":"x"}}', 0, 19),
    ],
)
def test_a_definition_is_measured_as_it_is_written(
    text: str, description: int, schema: int
) -> None:
    found = definition(text)
    whole = len(text.encode("utf-8", "surrogatepass"))
    assert found == Definition(whole, description, schema)
    assert found.other == found.total - description - schema


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("chatty", "it sends what is no message of MCP: Starting \\x1b[31mserver"),
        ("dying", "it ended with status 1: key is set"),
        ("refusing", "it answers tools/list with: no"),
        ("nameless", 'it lists a tool without a name: {"inputSchema":{}}'),
        ("listless", "its list of tools is none"),
        ("circling", "its list has more than 1000 pages"),
        ("endless", "it sends more than 16 MB"),
    ],
)
def test_a_server_that_cannot_be_weighed_is_one_line(
    kind: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weight", *odd(kind)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"metertap weight: {sys.executable}: ")
    assert told in line


def test_a_server_that_hangs_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weight", "--timeout", "0.3", *odd("silent")]) == 2
    assert capsys.readouterr().err.endswith(": it has not answered within 0.3 s\n")


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weight", "--", "no-such-server"]) == 2
    told = "metertap weight: no-such-server: it cannot be started: No such file or directory\n"
    assert capsys.readouterr().err == told


def test_the_server_and_all_it_started_are_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "pids"
    weighed(capsys, *odd("family", str(kept)))
    server, child = map(int, kept.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    wait_for(lambda: _is_gone(child))  # it is whoever inherits orphans that waits for it


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--fail-over", "1"), 1, "tokens, and at most 1 are allowed"),
        (("--fail-over", "100000"), 0, ""),
        (("--fail-over", "1tokens"), 1, "tokens, and at most 1 are allowed"),
        (("--fail-over", "200bytes"), 1, "weigh 201 bytes, and at most 200 are allowed"),
        (("--fail-over", "201bytes"), 0, ""),
    ],
)
def test_a_limit_fails_the_command(
    arguments: tuple[str, ...], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weight", *arguments, *odd("paged")]) == status
    out, err = capsys.readouterr()
    assert told in err
    assert bool(err) == bool(status)
    assert out.splitlines()[0] == "odd 1, 2 tools, 2 prompts"
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["tool", "search", "bare", "all"]


def test_markdown_for_github(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weight", "--format", "github", "--fail-over", "1", *odd("paged")]) == 1
    out, err = capsys.readouterr()
    assert "| search | 169 | 23 | 94 |" in out
    assert err.startswith("::error title=metertap weight::the definitions weigh ")


def test_names_in_markdown_mention_nobody_and_lead_nowhere() -> None:
    name = "@org/team https://evil.example ![x](y)"
    tool = session.Tool(name, "{}", definition("{}"))
    found = report(session.Listing(name, name, [tool], 0, 0), 1000)
    lines = [line for line in as_markdown(found).splitlines() if "org" in line]
    assert len(lines) == 2
    for line in lines:
        assert line.count("@") == line.count("\\@") > 0
        assert line.count(":") == line.count("\\:") > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fail-over", "much", "--", "x"),
        ("--context", "0", "--", "x"),
        ("--timeout", "-1", "--", "x"),
        (),
        ("--url", "http://x/", "--", "x"),
    ],
)
def test_a_wrong_command_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["weight", *arguments])
    assert ended.value.code == 2
    assert "metertap" in capsys.readouterr().err


class Answering(BaseHTTPRequestHandler):
    """A server over HTTP, as JSON or as a stream, by the path."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = message.get("method")
        self.asked.append((method or "an answer", self.headers["Mcp-Session-Id"]))
        if self.path == "/refusing":
            self.send_error(401)
        elif "id" not in message or method is None:
            self._end(202, "")
        elif method == "initialize":
            self._answer(message, '{"capabilities":{"tools":{}},"serverInfo":{"name":"web"}}')
        elif self.path == "/endless":
            self._answer(message, f'{{"tools":[],"nextCursor":"{"x" * 300_000}"}}')
        else:
            self._answer(message, '{"tools":[{"name":"ü", "inputSchema":{}}]}')

    def do_DELETE(self) -> None:
        self.asked.append(("DELETE", self.headers["Mcp-Session-Id"]))
        self._end(200, "")

    def _answer(self, message: dict[str, Any], result: str) -> None:
        answer = f'{{"jsonrpc":"2.0","id":{message["id"]},"result":{result}}}'
        if self.path == "/blank":
            answer = "\n\n" * 2**19 + f"data: {answer}\n\n"
            self._end(200, answer)
        elif self.path == "/stream":
            asked = '{"jsonrpc":"2.0","id":7,"method":"ping"}'
            self._end(
                200, f"id: 1\ndata:\n\nevent: message\r\ndata: {asked}\r\n\r\ndata: {answer}\n\n"
            )
        else:
            self._end(200, answer)

    def _end(self, status: int, body: str) -> None:
        stream = self.path in {"/stream", "/blank"} and body
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
        self.send_header("Mcp-Session-Id", "session-1")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: Any) -> None:
        """Write nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    Answering.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["plain", "stream"])
def test_a_server_over_http(web: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = weighed(capsys, "--url", f"{web}/{path}")
    (tool,) = document["tools"]
    assert (tool["name"], tool["definition_bytes"]) == ("ü", len('{"name":"..", "inputSchema":{}}'))
    pongs = [("an answer", "session-1")] if path == "stream" else []
    assert Answering.asked == [
        ("initialize", None),
        *pongs,
        ("notifications/initialized", "session-1"),
        ("tools/list", "session-1"),
        *pongs,
        ("DELETE", "session-1"),
    ]


@pytest.mark.mcp
def test_a_real_server_over_http(capsys: pytest.CaptureFixture[str]) -> None:
    from servers import mcp_http
    from servers.mcp_stacks import stacks
    from servers.mcp_tools import Gate

    stack = next(item for item in stacks() if item.empty is not None)
    assert stack.empty is not None
    server = stack.build(Gate())
    # mcp 1.10 redirects there, and no redirect is followed.
    slash = "/" if version("mcp").startswith("1.10.") else ""
    with mcp_http.serving(server) as url:
        document = weighed(capsys, "--url", url + slash)
    assert document["tools"]
    assert all(tool["schema_bytes"] > 2 for tool in document["tools"])


def test_what_does_not_answer_over_http(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    for url, told in (
        (f"{web}/refusing", "it answers 401 Unauthorized"),
        ("http://127.0.0.1:1/mcp", "Connection refused"),
        ("ftp://127.0.0.1/mcp", "it is no http:// or https:// address"),
    ):
        assert main(["weight", "--url", url]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"metertap weight: {url}: ")
        assert told in line
    assert main(["weight", "--url", "http://me:secret@127.0.0.1:1/mcp"]) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("part", DRIPPING)
def test_an_answer_over_http_that_comes_byte_by_byte_is_given_up(part: str) -> None:
    with dripping(part, 0.05) as address:
        began = time.monotonic()
        with pytest.raises(Unusable, match="it has not answered within"):
            session.listing(http.Http(f"http://{address}/mcp", Credentials(), Deadline(0.5)))
        assert time.monotonic() - began < 10


def test_what_has_come_when_the_time_is_up_is_not_read() -> None:
    class Buffered:
        """Pieces that the system holds, though the connection was cut."""

        def read1(self, _count: int) -> bytes:
            return b"x" * 1000

    held: Any = Buffered()
    asked = http.Http("http://example.org/mcp", Credentials(), Deadline(-1.0))
    with pytest.raises(Unusable, match="it has not answered within"):
        list(asked._read(held, 1, True))


def test_all_answers_over_http_together_take_bounded_memory(
    web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 2**20)
    with pytest.raises(Unusable, match="it sends more than 1 MB"):
        session.listing(http.Http(f"{web}/endless", Credentials(), Deadline(20)))
    assert len(Answering.asked) < 8


def test_a_stream_of_empty_events_takes_no_time_to_read(web: str) -> None:
    began = time.thread_time()
    session.listing(http.Http(f"{web}/blank", Credentials(), Deadline(60)))
    assert time.thread_time() - began < 3  # about 0.1; it was 10 where each was looked for anew


class Told:
    """A transport whose server gives the same answers whatever it is asked."""

    def __init__(self, initialized: str, listed: str) -> None:
        self._results = iter((initialized, listed))
        self._number = 0

    def send(self, message: dict[str, Any]) -> None:
        json.dumps(message)

    def agree(self, version: str) -> None:
        """Do nothing."""

    def receive(self) -> str:
        self._number += 1
        return f'{{"jsonrpc":"2.0","id":{self._number},"result":{next(self._results)}}}'


@pytest.mark.parametrize("place", ["version", "name", "cursor", "tool"])
def test_answers_of_any_depth_are_read_or_refused(place: str) -> None:
    for depth in range(860, 1010):
        deep = "[" * depth + "]" * depth
        version, name, cursor, tool = (
            deep if place == each else '"x"' for each in ("version", "name", "cursor", "tool")
        )
        told = Told(
            f'{{"protocolVersion":{version},"capabilities":{{"tools":{{}}}},'
            f'"serverInfo":{{"name":{name}}}}}',
            f'{{"tools":[{{"name":"a","inputSchema":{tool}}}],"nextCursor":'
            f"{cursor if place == 'cursor' else 'null'}}}",
        )
        with suppress(Unusable):
            assert session.listing(told).tools[0].size.total > (depth if place == "tool" else 0)
            assert place != "cursor"
            continue
        assert depth > 880 or place == "cursor"


def test_more_tools_than_any_server_has_are_refused() -> None:
    tools = ",".join(['{"name":"a"}'] * 10_001)
    told = Told('{"capabilities":{"tools":{}}}', f'{{"tools":[{tools}]}}')
    with pytest.raises(Unusable, match="it lists more than 10,000 tools"):
        session.listing(told)
