"""Who may read an endpoint: with a token, over TLS, with a certificate, at a Unix socket."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.settings.secret import Secret
from metertap.settings.table import AUTO
from metertap_exporters.http import connections, unix_socket
from metertap_exporters.http.access import OPEN, Access
from metertap_exporters.http.app import App, Response, json_response
from metertap_exporters.http.endpoint import Endpoint
from servers.real_servers import prometheus
from support.certificates import Authority
from support.http import Answer, get
from support.programs import run
from support.serving import connect, read, said
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.programs

TOKEN = "0123456789abcdef-token"


def fine(_environ: object) -> Response:
    return json_response(200, {"fine": True})


@contextlib.contextmanager
def endpoint(
    access: Access = OPEN, host: str = "127.0.0.1", path: Path | None = None
) -> Iterator[Endpoint]:
    made = Endpoint("test", App({"/fine": fine}), host, 0, True, "PORT", access=access, socket=path)
    made.start()
    made.wait(60)
    try:
        yield made
    finally:
        made.stop()


def url_of(made: Endpoint) -> str:
    assert made.url is not None, made.problem
    return made.url


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# The token

RIGHT = (
    f"Bearer {TOKEN}",
    f"bearer {TOKEN}",
    f"BEARER   {TOKEN} ",
    basic("", TOKEN),
    basic("anybody", TOKEN),
)
WRONG = (
    None,
    "",
    "Bearer",
    "Bearer ",
    TOKEN,
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    f"Bearer {TOKEN}, Bearer {TOKEN}",
    f"Token {TOKEN}",
    f"Digest {TOKEN}",
    f"Basic {TOKEN}",
    "Basic " + base64.b64encode(TOKEN.encode()).decode(),
    basic(TOKEN, ""),
    basic("user", TOKEN + "x"),
    "Basic ====",
    "Basic \xe9\xe9",
    "Bearer \xe9\x00\xff",
    "Bearer " + "x" * 10_000,
)


@pytest.fixture(params=["variable", "file"])
def access(request: pytest.FixtureRequest, tmp_path: Path) -> Access:
    """A token that is set itself, or stands in a file."""
    if request.param == "variable":
        return Access(token=Secret(TOKEN))
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return Access(token_file=file)


def asked(url: str, header: str | None, path: str = "/fine") -> Answer:
    return get(url + path, headers={} if header is None else {"Authorization": header})


def test_only_who_shows_the_token_is_answered(
    access: Access, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with endpoint(access) as made:
        url = url_of(made)
        assert [header for header in RIGHT if asked(url, header).status != 200] == []
        head = said(url, b"GET /fine HTTP/1.0\r\n\r\n")
        for scheme in (b"Basic", b"Bearer"):  # a browser needs one, each on a line of its own
            assert b"\r\nWWW-Authenticate: " + scheme + b' realm="metertap"\r\n' in head
        refused = [asked(url, header) for header in WRONG]
        refused += [asked(url, None, path) for path in ("/", "/nowhere", "/fine?x=1")]
    assert {answer.status for answer in refused} == {401}
    for answer in refused:
        assert TOKEN not in str(answer)
        assert "/fine" not in answer.body.decode()
    assert (warnings_of(caplog), capfd.readouterr()) == ([], ("", ""))


def test_a_foreign_host_is_refused_whatever_it_shows() -> None:
    with endpoint(Access(token=Secret(TOKEN))) as made:
        headers = {"Host": "example.org", "Authorization": f"Bearer {TOKEN}"}
        assert get(url_of(made) + "/fine", headers=headers).status == 403


@pytest.mark.faults
def test_a_token_that_is_written_anew_counts_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with endpoint(Access(token_file=file)) as made:
        url = url_of(made)
        assert asked(url, f"Bearer {TOKEN}").status == 200
        file.write_text("another-token-of-some-length")
        assert asked(url, f"Bearer {TOKEN}").status == 401
        assert asked(url, "Bearer another-token-of-some-length").status == 200
        assert warnings_of(caplog) == []
        file.unlink()
        for header in ("Bearer another-token-of-some-length", "Bearer ", None, basic("x", "")):
            assert asked(url, header).status == 401
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    "written", [None, b"", b" \n", b"\x00" * 10, b"a b", b"\xc3\xa9" * 9, b"x" * 5000, "pipe"]
)
def test_without_a_token_that_can_be_read_nothing_opens(
    written: bytes | str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    if written == "pipe":
        os.mkfifo(file)
    elif isinstance(written, bytes):
        file.write_bytes(written)
    with endpoint(Access(token_file=file)) as made:
        assert made.url is None
        assert str(file) in str(made.problem)
    (warning,) = warnings_of(caplog)
    assert warning.startswith("test is not served: ")


@pytest.mark.parametrize(
    ("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)]
)
def test_a_token_file_that_others_may_use_is_warned_of_once(
    mode: int, is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    for _ in range(2):
        with endpoint(Access(token_file=file)) as made:
            assert asked(url_of(made), f"Bearer {TOKEN}").status == 200
    assert [str(file) in warning for warning in warnings_of(caplog)] == [True] * is_told


def test_a_token_is_in_nothing_that_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    with metertap.instrument(token=TOKEN, prometheus=True) as tap:
        metertap.record_tool_call("search", True, 1.0)
        json_url, url = wait_for(lambda: tap.json_url), wait_for(lambda: tap.prometheus_url)
        shown = {"Authorization": f"Bearer {TOKEN}"}
        pages = [get(json_url + path, headers=shown) for path in ("/doctor", "/metrics", "/")]
        pages.append(get(url + "/metrics", headers=shown))
        assert [page.status for page in pages] == [200] * 4
        registered = [
            path.read_text() for path in Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.json")
        ]
        assert len(registered) == 1
        told = [
            *map(str, pages),
            *registered,
            caplog.text,
            repr(tap.settings),
            str(tap.diagnosis()),
        ]
        assert [text for text in told if TOKEN in text] == []
        assert pages[0].json()["settings"]["token"]["value"] == "(not shown)"


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def answered(made: Endpoint, context: ssl.SSLContext) -> bytes:
    """What the endpoint answers over TLS."""
    with context.wrap_socket(connect(url_of(made)), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET /fine HTTP/1.0\r\n\r\n")
        return read(client)


def test_it_speaks_tls_and_nothing_else(authority: Authority) -> None:
    with endpoint(Access(certfile=authority.issue("127.0.0.1"))) as made:
        assert url_of(made).startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=authority.path)
        assert b'{"fine":true}' in answered(made, trusting)
        with pytest.raises(ssl.SSLCertVerificationError):
            answered(made, ssl.create_default_context())
        with connect(url_of(made)) as client:
            client.sendall(b"GET /fine HTTP/1.0\r\n\r\n")
            assert b"fine" not in read(client)


def test_old_versions_of_tls_are_refused(authority: Authority) -> None:
    with endpoint(Access(certfile=authority.issue("127.0.0.1"))) as made:
        old = ssl.create_default_context(cafile=authority.path)
        with pytest.deprecated_call():
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.deprecated_call():
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            answered(made, old)


def test_a_client_needs_a_certificate_where_an_authority_is_set(
    authority: Authority, tmp_path: Path
) -> None:
    own = authority.issue("127.0.0.1")
    stranger = Authority(tmp_path / "stranger").issue("me", to="client")
    with endpoint(Access(certfile=own, client_cafile=authority.path)) as made:
        for certificate in (None, stranger):
            context = ssl.create_default_context(cafile=authority.path)
            if certificate is not None:
                context.load_cert_chain(certificate)
            try:
                answer = answered(made, context)
            except OSError:
                answer = b""
            assert b"fine" not in answer
        context = ssl.create_default_context(cafile=authority.path)
        context.load_cert_chain(authority.issue("me", to="client"))
        assert b'{"fine":true}' in answered(made, context)


def test_a_renewed_certificate_is_shown_from_then_on(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    path = authority.issue("127.0.0.1", to="renewed")
    context = ssl.create_default_context(cafile=authority.path)

    def shown() -> bytes | None:
        with context.wrap_socket(connect(url_of(made)), server_hostname="127.0.0.1") as client:
            return client.getpeercert(binary_form=True)

    with endpoint(Access(certfile=path)) as made:
        first = shown()
        assert shown() == first
        authority.issue("127.0.0.1", to="renewed")
        second = shown()
        assert second != first
        path.write_text("half of a cert")
        assert shown() == second
        assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("broken", ["missing", "empty", "encrypted", "authority"])
def test_without_a_certificate_that_can_be_used_nothing_opens(
    broken: str, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "certificate.pem"
    access = Access(certfile=path)
    if broken == "empty":
        path.touch()
    elif broken == "encrypted":
        encrypted(authority.issue("127.0.0.1"), path)
    elif broken == "authority":
        access = Access(certfile=authority.issue("127.0.0.1"), client_cafile=path)
    with endpoint(access) as made:
        assert made.url is None
        assert str(path) in str(made.problem)
    assert len(warnings_of(caplog)) == 1


def encrypted(certificate: Path, to: Path) -> None:
    """Copy a certificate with its key, the key by a password."""
    from cryptography.hazmat.primitives import serialization

    text = certificate.read_bytes()
    key = serialization.load_pem_private_key(text, None)
    to.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        + text[text.index(b"-----BEGIN CERTIFICATE") :]
    )


def test_clients_that_never_shake_hands_shut_nobody_out(authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    with (
        endpoint(Access(certfile=authority.issue("127.0.0.1"))) as made,
        contextlib.ExitStack() as clients,
    ):
        for number in range(connections.LIMIT + 10):
            client = clients.enter_context(connect(url_of(made)))
            client.sendall(b"\x16\x03\x01\x40"[: number % 5])  # a part of a record, or nothing
        assert b'{"fine":true}' in answered(made, context)


def test_an_answer_is_never_cut_into_clear_text(authority: Authority) -> None:
    # SSLSocket.shutdown() of another thread would have the rest of the answer written in clear.
    big = Response(200, "text/plain", b"secret-figure " * 400_000)
    app = App({"/big": lambda _environ: big})
    certificate = authority.issue("127.0.0.1")
    made = Endpoint("big", app, "127.0.0.1", 0, True, "", access=Access(certfile=certificate))
    made.start()
    assert made.wait(60)
    assert made._listening is not None
    server = made._listening.server
    assert server is not None
    context = ssl.create_default_context(cafile=authority.path)
    with connect(url_of(made), receive_buffer=4096) as plain:
        raw = socket.socket(fileno=os.dup(plain.fileno()))
        raw.settimeout(60)
        client = context.wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        client.recv(1)
        server.connections.end_late()
        wait_for(lambda: any(known.body for known in server.connections._open.values()))
        for known in list(server.connections._open.values()):
            known.since = 0.0
        server.connections.end_late()
        with raw:
            assert b"secret-figure" not in read(raw)
        client.close()
    made.stop()


# Unix sockets


def over(path: Path, request: bytes = b"GET /fine HTTP/1.1\r\nHost: localhost\r\n\r\n") -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(request)
        return read(client)


def test_a_socket_is_its_users_own_and_goes_with_the_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "private" / "json.sock"
    before = os.umask(0)
    try:
        with endpoint(path=path) as made:
            assert made.url == f"unix:{path}"
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert b'{"fine":true}' in over(path)
            assert b" 403 " in over(path, b"GET /fine HTTP/1.1\r\nHost: example.org\r\n\r\n")
            assert b" 405 " in over(path, b"POST /fine HTTP/1.1\r\nHost: localhost\r\n\r\n")
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_token_is_asked_for_at_a_socket_too(tmp_path: Path) -> None:
    path = tmp_path / "json.sock"
    with endpoint(Access(token=Secret(TOKEN)), path=path):
        assert b" 401 " in over(path)
        shown = f"GET /fine HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        assert b" 200 " in over(path, shown.encode())


def test_the_socket_of_a_killed_process_is_replaced_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "json.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with endpoint(path=path) as first, endpoint(path=path) as second:
        assert first.url is not None
        assert second.url is None
        assert "in use" in str(second.problem)
        assert b'{"fine":true}' in over(path)


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_no_socket_stays(there: str, tmp_path: Path) -> None:
    path, other = tmp_path / "json.sock", tmp_path / "other"
    other.write_text("kept")
    if there == "folder":
        path.mkdir()
    elif there == "link":
        path.symlink_to(other)
    else:
        path.write_text("kept")
    with endpoint(path=path) as made:
        assert made.url is None
    assert path.is_dir() or path.read_text() == "kept"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_folder_that_others_may_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with endpoint(path=folder / "json.sock") as made:
        assert made.url is None
        assert "others may write" in str(made.problem)
    assert list(folder.iterdir()) == []


def test_a_path_that_is_too_long_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint(path=tmp_path / ("x" * 120)) as made:
        assert made.url is None
    assert len(warnings_of(caplog)) == 1


def test_another_socket_in_its_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "json.sock"
    with endpoint(path=path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


def test_a_flood_at_a_socket_shuts_nobody_out(tmp_path: Path) -> None:
    """Clients that say nothing fill the places, and the queue has others, and some that left."""
    path = tmp_path / "json.sock"
    with endpoint(path=path), contextlib.ExitStack() as clients:
        for number in range(connections.LIMIT + 200):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(60)  # with a timeout, a full queue refuses it
            client.connect(str(path))
            if number % 2 and number > connections.LIMIT:
                client.close()
        assert b'{"fine":true}' in over(path)


@pytest.fixture
def short_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A runtime folder in which sockets fit: their paths have 107 bytes at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.mark.usefixtures("short_runtime_folder")
def test_auto_is_a_socket_of_the_process_in_the_runtime_folder() -> None:
    with metertap.instrument(json_socket="auto", prometheus=True, prometheus_socket="auto") as tap:
        metertap.record_tool_call("search", True, 1.0)
        for label, wanted in (("json", b'"search"'), ("prometheus", b"search")):
            url = wait_for(lambda: getattr(tap, f"{label}_url"))  # noqa: B023
            path = unix_socket.place(AUTO, label)
            assert url == f"unix:{path}"
            assert path.parent == Path(os.environ["XDG_RUNTIME_DIR"]) / "metertap"
            assert wanted in over(path, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not path.exists()


FORKED = """
import os, sys, time, metertap
tap = metertap.instrument(json_socket="auto", announce=False)
metertap.record_tool_call("search", True, 1.0)
while tap.json_url is None: time.sleep(0.01)
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
metertap.record_tool_call("search", True, 1.0)
for _ in range(6000):
    if tap.json_url: break
    time.sleep(0.01)
print(tap.json_url == f"unix:{os.environ['XDG_RUNTIME_DIR']}/metertap/{os.getpid()}-json.sock")
sys.stdout.flush(); os._exit(0)
"""


@pytest.mark.usefixtures("short_runtime_folder")
def test_a_forked_child_has_a_socket_of_its_own() -> None:
    done = run(sys.executable, "-c", FORKED)
    assert (done.status, done.stdout, done.told) == (0, b"True\n", "")


# Beyond this machine


@pytest.mark.parametrize(
    ("host", "protected", "told"),
    [
        ("0.0.0.0", None, 1),
        ("0.0.0.0", "certificate", 1),
        ("0.0.0.0", "token", 0),
        ("0.0.0.0", "mtls", 0),
        ("127.0.0.1", None, 0),
    ],
)
def test_an_endpoint_that_everybody_may_read_is_warned_of_once(
    host: str,
    protected: str | None,
    told: int,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificate = authority.issue("127.0.0.1")
    access = {
        None: Access(),
        "token": Access(token=Secret(TOKEN)),
        "certificate": Access(certfile=certificate),
        "mtls": Access(certfile=certificate, client_cafile=authority.path),
    }[protected]
    for _ in range(2):
        with endpoint(access, host) as made:
            assert made.url is not None
    assert len(warnings_of(caplog)) == told
    assert all("EVERYBODY" in warning for warning in warnings_of(caplog))


# Prometheus

PROTECTED = ("token file", "basic", "tls", "mtls", "tls and token")


@pytest.mark.real
@pytest.mark.parametrize("how", PROTECTED)
def test_prometheus_is_let_in(how: str, authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    options: Any = {}
    scrape: dict[str, Any] = {}
    if "token" in how:
        options["token_file"] = file
        scrape["authorization"] = {"credentials_file": str(file)}
    if how == "basic":
        options["token"] = TOKEN
        scrape["basic_auth"] = {"username": "any", "password_file": str(file)}
    if "tls" in how:
        options["tls_certfile"] = authority.issue("127.0.0.1")
        scrape |= {"scheme": "https", "tls_config": {"ca_file": str(authority.path)}}
    if how == "mtls":
        client = str(authority.issue("prometheus", to="client"))
        options["tls_client_cafile"] = authority.path
        scrape["tls_config"] |= {"cert_file": client, "key_file": client}
    with metertap.instrument(prometheus=True, **options) as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.prometheus_url)
        with prometheus(tmp_path / "let-in", url, scrape=scrape) as server:
            wait_for(lambda: server.value("up") == 1, 60)
            assert server.value("sum(gen_ai_execute_tool_duration_seconds_count)") == 1
        without = {"scheme": "https"} if "tls" in how else {}
        with prometheus(tmp_path / "refused", url, scrape=without) as server:
            (target,) = wait_for(
                lambda: [item for item in server.targets() if item["health"] == "down"], 60
            )
            assert target["lastError"]
            assert TOKEN not in target["lastError"]
