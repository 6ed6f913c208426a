"""Endpoints over TLS: certificates of the server and of its clients."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from metertap_exporters.http import connections
from metertap_exporters.http.access import Access
from metertap_exporters.http.app import App, Response
from metertap_exporters.http.endpoint import Endpoint
from support.certificates import Authority
from support.endpoints import endpoint, url_of
from support.serving import connect, read
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.programs


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


@pytest.mark.parametrize("broken", ["missing", "empty", "encrypted", "authority", "key"])
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
    elif broken == "key":
        access = Access(certfile=authority.issue("127.0.0.1"), keyfile=path)
    with endpoint(access) as made:
        assert made.url is None
        assert str(path) in str(made.problem)
    assert len(warnings_of(caplog)) == 1


def test_a_key_that_is_there_and_cannot_be_reached_is_not_called_missing(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link to itself, since who runs the tests may be allowed to enter every folder."""
    path = tmp_path / "key.pem"
    path.symlink_to(path)
    with endpoint(Access(certfile=authority.issue("127.0.0.1"), keyfile=path)) as made:
        assert made.url is None
    (told,) = warnings_of(caplog)
    assert f"the key {path} cannot be used: {os.strerror(errno.ELOOP)}" in told


def test_a_certificate_without_its_key_tells_which_setting_names_the_key(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = authority.issue("127.0.0.1").read_text()
    path = tmp_path / "certificate.pem"
    path.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    with endpoint(Access(certfile=path)) as made:
        assert made.url is None
    (told,) = warnings_of(caplog)
    assert "METERTAP_TLS_KEYFILE" in told


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


def long_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**10)


@pytest.mark.parametrize(
    ("put", "told"), [(os.mkfifo, "it is no regular file"), (long_file, "it is too long")]
)
def test_what_is_no_certificate_but_in_its_place_is_not_waited_for(
    put: Callable[[Path], None],
    told: str,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(authority.issue("127.0.0.1").read_bytes())
    trusting = ssl.create_default_context(cafile=authority.path)
    with endpoint(Access(certfile=certificate)) as made:
        assert b'{"fine":true}' in answered(made, trusting)
        certificate.unlink()
        put(certificate)
        assert b'{"fine":true}' in answered(made, trusting)
        assert told in "".join(warnings_of(caplog))
