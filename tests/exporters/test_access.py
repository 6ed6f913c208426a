"""Who may read an endpoint: with a token, from which machine, and how Prometheus is let in."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.settings.secret import Secret
from metertap_exporters.http.access import Access
from servers.real_servers import prometheus
from support.certificates import Authority
from support.endpoints import TOKEN, endpoint, url_of
from support.http import Answer, get
from support.serving import said
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.programs


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
        file.mkdir()
        before = os.listdir("/proc/self/fd")
        for _ in range(9):
            assert asked(url, "Bearer another-token-of-some-length").status == 401
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= len(before))
        file.rmdir()
        for header in ("Bearer another-token-of-some-length", "Bearer ", None, basic("x", "")):
            assert asked(url, header).status == 401
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    "written",
    [None, b"", b" \n", b"\x00" * 10, b"a b", b"\xc3\xa9" * 9, b"x" * 5000, "pipe", "folder"],
)
def test_without_a_token_that_can_be_read_nothing_opens(
    written: bytes | str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    if written == "pipe":
        os.mkfifo(file)
    elif written == "folder":
        file.mkdir()
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
