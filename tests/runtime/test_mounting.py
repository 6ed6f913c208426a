"""The page, JSON and Prometheus inside the program's own web server, real ones."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import metertap
from metertap import unavailable
from metertap_exporters.http.asgi import asgi

pytestmark = pytest.mark.programs


def called(path: str, app: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask a WSGI application, by the rules of PEP 3333."""
    environ: dict[str, Any] = {"PATH_INFO": path, **headers}
    setup_testing_defaults(environ)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/inside", path
    started: list[Any] = []
    answer: Iterable[bytes] = validator(app or metertap.wsgi_app())(
        environ, lambda status, head, exc_info=None: started.append((status, dict(head)))
    )
    body = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]
    return int(started[0][0][:3]), started[0][1], body


class Protected:
    """The program's own authentication."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and headers.get(b"authorization") != b"Bearer secret":
            await PlainTextResponse("who are you?", 401)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def search(_request: object) -> PlainTextResponse:
    metertap.record_tool_call("search", True, 2.0)
    return PlainTextResponse("found")


def test_starlette_serves_it_behind_its_own_authentication() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        inside = Mount("/meter", metertap.asgi_app(), middleware=[Middleware(Protected)])
        app = Starlette(routes=[Route("/search", search), inside])
        with TestClient(app) as client:
            assert client.get("/search").text == "found"
            assert client.get("/meter/").status_code == 401
            client.headers["Authorization"] = "Bearer secret"
            page = client.get("/meter")
            assert page.url.path == "/meter/"
            for part in re.findall(r'(?:src|href)="([^":]+)"', page.text):
                assert client.get(f"/meter/{part}").status_code == 200, part
            assert "default-src 'none'" in page.headers["content-security-policy"]
            document = client.get("/meter/metrics").json()
            assert document["tool_metrics"]["search"]["total_calls"] == 1
            exposition = client.get("/meter/prometheus").text
            for_prometheus = {"User-Agent": "Prometheus/3.0"}
            same = client.get("/meter/metrics", headers=for_prometheus).text
            assert client.get("/meter/nothing").status_code == 404
            assert client.post("/meter/metrics").status_code == 405
        assert tap.json_url is tap.prometheus_url is None
    for text in (exposition, same):
        assert re.search(r'_count\{.*gen_ai_tool_name="search".*\} 1(\.0)?\n', text)
        assert "metertap_tool_latency_seconds" in text


def test_fastapi_serves_it() -> None:
    fastapi = pytest.importorskip("fastapi")
    with metertap.instrument(json_endpoint=False):
        app = fastapi.FastAPI()
        app.mount("/meter", metertap.asgi_app())
        metertap.record_tool_call("search", True, 2.0)
        client = TestClient(app, root_path="/behind/a/proxy")
        assert "search" in client.get("/meter/metrics").json()["tool_metrics"]
        assert client.get("/meter/").text.startswith("<!doctype html>")


FIRST_USES_OF_THE_SDK = [
    "app = metertap.asgi_app()",
    "app = metertap.wsgi_app()",
    "from metertap_exporters.json.reader import JsonMetricReader",
    "from metertap_exporters.prometheus import PrometheusExporter",
    "import metertap_exporters.exposition.otel, metertap_exporters.otlp",
]


@pytest.mark.parametrize("use", FIRST_USES_OF_THE_SDK)
def test_a_module_of_ours_that_imports_the_sdk_first_is_silent(use: str) -> None:
    program = f"""
        import json, metertap
        tap = metertap.instrument(json_endpoint=False)
        {use}
        metertap.record_tool_call("search", True, 2.0)
        print(json.dumps([list(tap.snapshot()["tool_metrics"]), tap.diagnosis()["faults"]]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [["search"], {}]


DJANGO = """
import json
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies", LOGIN_URL="/login",
)
django.setup()
import metertap
metertap.instrument(json_endpoint=False)

# The view of docs/mounting.md.
from django.contrib.auth.decorators import login_required

inside = metertap.wsgi_app()

@login_required
def meter(request, rest=""):
    answer = HttpResponse()
    def start(status, headers):
        answer.status_code = int(status[:3])
        for name, value in headers:
            answer[name] = value
    environ = {**request.environ, "SCRIPT_NAME": "/meter", "PATH_INFO": f"/{rest}"}
    answer.content = b"".join(inside(environ, start))
    return answer

urlpatterns = [path("meter/", meter), path("meter/<path:rest>", meter)]

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
client = Client()
refused = client.get("/meter/metrics").status_code
client.force_login(User.objects.create_user("ada"))
metertap.record_tool_call("search", True, 2.0)
print(json.dumps([
    refused,
    client.get("/meter/metrics").json()["tool_metrics"]["search"]["total_calls"],
    client.get("/meter/").content.decode()[:15],
    "search" in client.get("/meter/prometheus").content.decode(),
]))
"""


def test_django_serves_it_behind_its_own_login() -> None:
    pytest.importorskip("django")
    done = subprocess.run(
        [sys.executable, "-c", DJANGO], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [302, 1, "<!doctype html>", True]


def test_it_is_wsgi_by_the_letter() -> None:
    with metertap.instrument(json_endpoint=False):
        metertap.record_tool_call("search", True, 2.0)
        app = metertap.wsgi_app()
        status, headers, body = called("/metrics", app)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body)["tool_metrics"]["search"]["total_calls"] == 1
        assert called("", app)[1]["Location"] == "/inside/"
        assert json.loads(called("/doctor", app)[2])["active"]


def test_endpoints_that_are_there_show_the_same() -> None:
    with metertap.instrument(prometheus=True):
        app = metertap.wsgi_app()
        metertap.record_tool_call("search", True, 2.0)
        assert "search" in json.loads(called("/metrics", app)[2])["tool_metrics"]
        assert b'gen_ai_tool_name="search"' in called("/prometheus", app)[2]


@pytest.mark.parametrize("path", ["/metrics", "/prometheus", "/history.json"])
def test_a_query_that_takes_long_to_read_is_refused(path: str) -> None:
    # The program's own server may read requests of any length.
    with metertap.instrument(json_endpoint=False):
        status, _, body = called(path, QUERY_STRING="name[]=a&" * 10_000)
    assert (status, b"a query has at most 8192 characters" in body) == (414, True)


def test_it_follows_the_program_to_the_provider_that_it_sets() -> None:
    with metertap.instrument(json_endpoint=False):
        app = metertap.wsgi_app()
        metertap.record_tool_call("before", True, 2.0)
        set_meter_provider(MeterProvider(shutdown_on_exit=False))
        metertap.record_tool_call("after", True, 2.0)
        text = called("/prometheus", app)[2].decode()
    for name in ("before", "after"):
        assert re.search(rf'tool_duration_seconds_count\{{.*"{name}".*\}} 1(\.0)?\n', text)


def test_without_instrument_it_says_so() -> None:
    status, _, body = called("/metrics")
    assert status == 503
    assert b"instrument" in body


def run_as_guest(trio: Any, call: Callable[[], Awaitable[None]]) -> None:
    """Run a function in trio's loop, inside of asyncio's."""

    async def host() -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            call, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        (await asyncio.wait_for(done, 60)).unwrap()

    asyncio.run(host())


@pytest.mark.parametrize("is_guest", [False, True])
@pytest.mark.parametrize("app", [metertap.asgi_app, unavailable.asgi_app])
def test_it_answers_under_trio(app: Any, is_guest: bool) -> None:
    trio: Any = pytest.importorskip("trio")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def call() -> None:
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
        await app()(scope, receive, send)

    if is_guest:
        run_as_guest(trio, call)
    else:
        trio.run(call)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503


def test_answers_take_no_thread_that_the_program_counts_on() -> None:
    may_end = threading.Event()

    def slow(_environ: object, start_response: Any) -> Iterable[bytes]:
        may_end.wait(60)
        start_response("200 OK", [])
        return []

    async def program() -> str:
        scope = {"type": "http", "path": "/", "method": "GET"}
        answer = asgi(slow)
        asked = [asyncio.ensure_future(answer(scope, receive, send)) for _ in range(40)]
        try:
            await asyncio.sleep(0)  # now all wait for their answers; a loop has at most 32 threads
            return await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 30)
        finally:
            may_end.set()
            await asyncio.gather(*asked)

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(_message: object) -> None:
        pass

    assert asyncio.run(program()) == "done"


def test_where_metertap_cannot_be_used_the_program_still_has_something_to_mount() -> None:
    assert called("/metrics", unavailable.wsgi_app())[0] == 503
    code = """
    import sys
    sys.modules["opentelemetry.sdk.metrics"] = None
    import metertap
    print(callable(metertap.asgi_app()), callable(metertap.wsgi_app()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=180
    )
    assert done.stdout == "True True\n"


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("", "/"),
        ("/inside", "/inside/"),
        ("//evil.example", "/evil.example/"),
        ("/\\evil.example", "/%5Cevil.example/"),
        ("/a\r\nX: y", "/a%0D%0AX%3A%20y/"),
        ("/caf\xe9", "/caf%E9/"),
        ("/\u2028", "/%3F/"),
    ],
)
def test_it_redirects_to_a_path_of_this_server_alone(name: str, to: str) -> None:
    head: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "", "SCRIPT_NAME": name}
    assert b"".join(metertap.wsgi_app()(environ, lambda *given: head.extend(given))) == b""
    assert (head[0][:3], dict(head[1])["Location"]) == ("307", to)


HANGING = """
import asyncio, threading
from metertap_exporters.http.asgi import asgi
def hangs(environ, start_response):
    print("asked", flush=True)
    threading.Event().wait()
async def begin():
    scope = {"type": "http", "method": "GET", "path": "/"}
    task = asyncio.create_task(asgi(hangs)(scope, None, None))
    await asyncio.sleep(0.5)
    task.cancel()
asyncio.run(begin())
"""


def test_an_answer_that_hangs_does_not_keep_the_process() -> None:
    found = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"asked\n", b"")
