"""Commands that ask processes which do not let everybody in, and to whom they show the token."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import metertap
from metertap.cli import main
from metertap.cli.client import Unreachable, get
from metertap.cli.credentials import Credentials
from metertap.runtime import running
from metertap.settings.address import parse
from metertap.settings.secret import Secret
from metertap_exporters.alert_receivers.receiver import Post
from support.certificates import Authority
from support.waiting import wait_for

TOKEN = "0123456789abcdef-token"
COMMANDS = (["snapshot"], ["top", "--once", "--interval", "0.1"], ["doctor"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return file


@contextmanager
def measured(**options: Any) -> Iterator[str]:
    """The address of this process, which has measured a call of `search`."""
    with metertap.instrument(service_name="shop", announce=False, **options) as tap:
        metertap.record_tool_call("search", True, 1.5)
        url = wait_for(lambda: tap.json_url)
        wait_for(running.running)
        yield url


def outcome(*command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status, and both outputs."""
    status = main(list(command))
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    return status, out + err


# Without an address, `doctor` first looks at its own environment, which takes its time.
@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
@pytest.mark.parametrize("how", ["token", "socket", "tls", "socket and token", "tls and token"])
def test_processes_of_this_user_are_asked_as_they_want_it(
    how: str,
    command: list[str],
    authority: Authority,
    token_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, Any] = {}
    if "token" in how:
        options["token_file"] = token_file
    if "socket" in how:
        options["json_socket"] = "auto"
    if "tls" in how:
        options["tls_certfile"] = authority.issue("metrics.example.org")
    with measured(**options) as url:
        status, told = outcome(*command, capsys=capsys)
        assert (status, "search" in told) == (0, True), told
        assert url in told or "socket" in how


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_address_is_asked_with_what_the_command_line_names(
    command: list[str], authority: Authority, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = authority.issue("127.0.0.1")
    options = {
        "token_file": token_file,
        "tls_certfile": server,
        "tls_client_cafile": authority.path,
    }
    client = str(authority.issue("me", to="client"))
    files = ["--cacert", str(authority.path), "--cert", client, "--token-file", str(token_file)]
    with measured(**options) as url:
        status, told = outcome(*command, url, *files, capsys=capsys)
        assert (status, "shop" in told) == (0, True), told
        for missing in range(0, 6, 2):
            given = files[:missing] + files[missing + 2 :]
            status, told = outcome(*command, url, *given, capsys=capsys)
            assert (status, "shop" in told, told.count("\n")) == (1, False, 1), told


def test_an_address_of_a_socket_is_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "json.sock"
    with measured(json_socket=path):
        for address in (str(path), f"unix:{path}"):
            status, told = outcome("snapshot", address, capsys=capsys)
            assert (status, "search" in told) == (0, True), told
    status, told = outcome("snapshot", str(path), capsys=capsys)
    assert (status, told.count("\n")) == (1, 1)


def test_the_token_of_the_environment_opens_processes_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with measured(token=TOKEN) as url:
        for address in ((), (url,)):
            status, told = outcome("snapshot", *address, capsys=capsys)
            assert status == 1
            assert "it asks for a token: --token-file FILE, or METERTAP_TOKEN_FILE" in told
        for name, value in (("METERTAP_TOKEN", TOKEN), ("METERTAP_TOKEN_FILE", str(token_file))):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                for address in ((), (url,)):
                    status, told = outcome("snapshot", *address, capsys=capsys)
                    assert (status, "search" in told) == (0, True), told
        monkeypatch.setenv("METERTAP_TOKEN", "another")
        status, told = outcome("snapshot", capsys=capsys)
        assert "it asks for another token" in told


def test_a_password_in_an_address_is_the_token_and_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with measured(token=TOKEN) as url:
        place = url.removeprefix("http://")
        for command in (["snapshot"], ["top", "--once", "--interval", "0.1"]):
            status, told = outcome(*command, f"http://me:{TOKEN}@{place}", capsys=capsys)
            assert (status, "search" in told) == (0, True), told
    status, told = outcome("snapshot", f"http://me:{TOKEN}@{place}", capsys=capsys)
    assert status == 1


@pytest.mark.parametrize("secret", ["p%C3%A4ss-secret", "a%20b-secret", "a/b-secret"])
def test_a_password_that_cannot_be_used_is_not_shown(
    secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["snapshot"], ["top", "--once"], ["doctor"], ["open"], ["costs", "--history"]):
        status, told = outcome(*command, f"http://me:{secret}@127.0.0.1:1", capsys=capsys)
        assert (status, "secret" in told) == (1, False), told


@contextmanager
def stranger(host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Any]:
    """A program that keeps what is shown to it: its port, and what it saw."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_error(404)

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port, seen
        server.shutdown()


def test_a_token_goes_only_where_nobody_on_the_way_reads_it(
    monkeypatch: pytest.MonkeyPatch, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METERTAP_TOKEN", TOKEN)
    with stranger() as (port, seen):
        names = {"metrics.example.org": False, "127.0.0.1": True, "localhost": True}
        known = socket.getaddrinfo  # every name leads to the stranger
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *_place, type: known("127.0.0.1", port, type=type)
        )
        for name, is_shown in names.items():
            outcome("snapshot", f"http://{name}:{port}", capsys=capsys)
            assert (seen.pop() is not None) == is_shown, name
        command = ("snapshot", f"http://metrics.example.org:{port}", "--token-file")
        outcome(*command, str(token_file), capsys=capsys)
        assert seen.pop() == f"Bearer {TOKEN}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_token_of_the_environment_goes_to_no_other_user_at_a_socket(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METERTAP_TOKEN", TOKEN)
    path = tmp_path / "json.sock"
    another = 12_345
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.seteuid(another)  # the system notes who listens
        try:
            listener.listen()
        finally:
            os.seteuid(0)
        listener.settimeout(60)

        def shown(*options: str) -> tuple[str, bytes]:
            """What the command says, and what the other user's process is sent."""
            heard: list[bytes] = []

            def hear() -> None:
                line, _ = listener.accept()
                with line:
                    heard.append(line.recv(4096))

            thread = Thread(target=hear)
            thread.start()
            _, told = outcome("snapshot", f"unix:{path}", *options, capsys=capsys)
            thread.join()
            return told, heard[0]

        told, sent = shown()
        assert (sent, "another user listens there" in told) == (b"", True)
        _, sent = shown("--token-file", str(token_file))
        assert f"Bearer {TOKEN}".encode() in sent


def test_a_registered_process_that_wants_no_token_is_shown_none(
    monkeypatch: pytest.MonkeyPatch, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METERTAP_TOKEN", TOKEN)
    with stranger() as (port, seen):
        running.register("shop", f"http://127.0.0.1:{port}", None)
        for command in (["snapshot"], ["snapshot", "--token-file", str(token_file)]):
            outcome(*command, capsys=capsys)
            assert seen.pop() is None
        running.register("shop", f"http://127.0.0.1:{port}", None, access={"asks_token": True})
        outcome("snapshot", capsys=capsys)
        assert seen.pop() == f"Bearer {TOKEN}"
        running.unregister()


def test_a_registered_process_must_show_its_own_certificate(
    authority: Authority, token_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Even one that the same authority signed for the same name is another's.
    own = authority.issue("127.0.0.1", to="own")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("127.0.0.1", to="others"))
    with stranger(context=context) as (port, seen):
        access = {"asks_token": True, "token_file": str(token_file), "certificate_file": str(own)}
        running.register("shop", f"https://127.0.0.1:{port}", None, access=access)
        status, told = outcome("snapshot", capsys=capsys)
        assert (status, seen) == (1, [])
        assert "does not show the certificate" in told
        running.unregister()


@pytest.mark.parametrize("broken", ["token", "cert", "cacert"])
def test_a_file_that_cannot_be_read_is_one_line(broken: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    credentials = {
        "token": Credentials(token_file=nowhere),
        "cert": Credentials(certfile=nowhere),
        "cacert": Credentials(authorities=nowhere),
    }[broken]
    with pytest.raises(Unreachable, match="cannot be"):
        get("https://127.0.0.1:1/", credentials=credentials)


def test_a_registration_holds_paths_and_no_secret(token_file: Path) -> None:
    with measured(token_file=token_file):
        folder = Path(os.environ["XDG_RUNTIME_DIR"])
        (text,) = (path.read_text() for path in folder.rglob("*.json"))
        assert json.loads(text)["token_file"] == str(token_file)
        assert TOKEN not in text


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no ::1")
def test_a_token_for_localhost_goes_to_nobody_at_the_other_address(
    token_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names are looked up so where `/etc/hosts` has `::1 localhost`."""
    look_up = socket.getaddrinfo

    def first_ipv6(host: Any, *rest: Any, **more: Any) -> Any:
        found = look_up(host, *rest, **more)
        return [*look_up("::1", *rest, **more), *found] if host == "localhost" else found

    with measured(json_host="localhost", json_port=0, token_file=token_file) as url:
        assert url.startswith("http://localhost:")
        port = int(url.rpartition(":")[2])
        try:
            stranger = socket.create_server(("::1", port), family=socket.AF_INET6)
        except OSError:
            pytest.skip("::1 cannot be listened at")
        with stranger:
            monkeypatch.setattr(socket, "getaddrinfo", first_ipv6)
            status, told = outcome("snapshot", capsys=capsys)
            stranger.settimeout(0.2)
            with pytest.raises(TimeoutError):
                stranger.accept()
    assert (status, "search" in told) == (0, True)


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no ::1")
def test_a_token_for_localhost_goes_to_nobody_else_where_nobody_listens(
    token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        stranger = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("::1 cannot be listened at")
    with stranger:
        stranger.settimeout(0.2)
        url = f"http://localhost:{stranger.getsockname()[1]}"
        with pytest.raises(Unreachable) as refused:
            get(url, credentials=Credentials(token=Secret(TOKEN)))
        assert refused.value.is_refused
        post = Post(parse(f"http://user:{TOKEN}@{url.removeprefix('http://')}"), "/", b"{}")
        assert post.run() == "Connection refused"
        command = ("weight", "--timeout", "5", "--url", f"{url}/mcp")
        assert outcome(*command, "--token-file", str(token_file), capsys=capsys)[0] == 2
        with pytest.raises(TimeoutError):
            stranger.accept()
