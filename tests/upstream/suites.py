"""The published suites: where each library's tests come from, and what they need.

The source distributions of websockets and of pydantic-ai carry no tests; they are taken from their
repositories. Tests of websockets wait for times that a busy machine misses now and then, with
metertap and without it: they get thirty times as long. Those behind a proxy fail by turns, both
ways, and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One library's own tests, as its source distribution carries them."""

    name: str
    requirement: str | None
    """The version whose source distribution is unpacked, or the tag of a repository that is cloned.

    None if what is installed carries the tests.
    """
    needs: tuple[str, ...]
    """What is installed: the library with its extras, and what its tests import."""
    tests: str = "tests"
    """Folders or files in it, as patterns that are separated by spaces."""
    arguments: tuple[str, ...] = ()
    """More arguments of pytest."""
    runner: tuple[str, ...] = ()
    """The arguments of Python instead of pytest's, for tests with a runner of their own.

    The runner finds in the environment `REPORT`, the JUnit file that it has to write, and
    `IN_FORCE`, which is empty if nothing is measured.
    """
    servers: tuple[str, ...] = ()
    """Server programs that must be on PATH; they are started on their usual ports."""
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables."""


ASYNCIO = "pytest-asyncio"
SNAPSHOTS = ("dirty-equals", "inline-snapshot", "pytest-examples")

SUITES = (
    Suite(
        "functools",
        None,
        (),
        tests="",
        arguments=("--pyargs", "test.test_functools", "-k", "LRU or Cache"),
    ),
    Suite("cachetools", "cachetools==7.*", ("cachetools==7.*",)),
    Suite("cachetools-5", "cachetools==5.*", ("cachetools==5.*",)),
    Suite(
        "dogpile.cache",
        "dogpile.cache==1.*",
        ("dogpile.cache==1.*", "redis", "pymemcache", "python-memcached", "mako"),
        tests="tests/cache tests/test_[blu]*.py",
        arguments=("-o", "filterwarnings=", "-k", "not sentinel and not valkey and not tls"),
        servers=("redis-server", "memcached"),
    ),
    Suite(
        "async-lru",
        "async-lru==2.*",
        ("async-lru==2.*", ASYNCIO),
        arguments=("-o", "asyncio_default_fixture_loop_scope=function"),
    ),
    Suite(
        "cashews",
        "cashews==7.*",
        (
            "cashews[diskcache,dill,redis]==7.*",
            ASYNCIO,
            "pytest-rerunfailures",
            "hypothesis",
            "fastapi",
            "httpx",
            "prometheus-client",
        ),
        arguments=("-o", "asyncio_mode=auto", "-p", "cashews_fixtures"),
        servers=("redis-server",),
    ),
    Suite(
        "aiocache",
        "aiocache==0.12.*",
        ("aiocache[redis,memcached,msgpack]==0.12.*", ASYNCIO, "pytest-mock", "marshmallow<4"),
        tests="tests/ut tests/acceptance",
        arguments=(
            *("-o", "filterwarnings="),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
        ),
        servers=("redis-server", "memcached"),
    ),
    Suite(
        "diskcache",
        "diskcache==5.*",
        ("diskcache==5.*",),
        tests="tests/test_[cfir]*.py tests/test_deque.py",
    ),
    Suite(
        "redis",
        "redis==8.*",
        ("redis==8.*", ASYNCIO, "numpy", "packaging", "cachetools", "PyJWT", "cryptography"),
        tests=" ".join(
            f"tests/{folder}test_{name}.py"
            for folder in ("", "test_asyncio/")
            for name in ("cache", "client", "commands", "connection_pool", "lock", "pipeline")
        ),
        arguments=("-m", "not redismod and not onlycluster and not ssl and not cp_integration"),
        servers=("redis-server",),
    ),
    Suite(
        "django",
        "django==5.*",
        ("django==5.*", "unittest-xml-reporting", "redis", "pymemcache", "jinja2", "asgiref"),
        runner=("tests/runtests.py", "cache", "--settings=django_settings", "--parallel=1"),
        servers=("redis-server", "memcached"),
    ),
    Suite(
        "langchain-core",
        "langchain-core==1.*",
        (
            "langchain-core==1.*",
            "langchain-tests",
            ASYNCIO,
            *("blockbuster", "freezegun", "grandalf", "numpy", "pytest-mock", "pytest-socket"),
            *("responses", "syrupy", "pytest-benchmark"),
        ),
        tests="tests/unit_tests",
    ),
    Suite(
        "langgraph",
        "langgraph-prebuilt==1.*",
        (
            *("langgraph==1.*", "langgraph-prebuilt==1.*", ASYNCIO, "pytest-mock", "syrupy"),
            *("langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres"),
            *("psycopg[binary]", "psycopg-pool", "redis"),
        ),
        arguments=("-o", "asyncio_mode=auto"),
        settings=(("NO_DOCKER", "true"),),
    ),
    Suite(
        "openai-agents",
        "openai-agents==0.*",
        (
            "openai-agents==0.*",
            *(ASYNCIO, "pytest-mock", "inline-snapshot", "fastapi", "aiosqlite", "rich", "httpx"),
            *("cryptography", "numpy", "websockets", "textual"),
        ),
        tests="tests/test_*tool*.py tests/mcp",
    ),
    Suite(
        "mcp-1",
        "mcp==1.*",
        ("mcp[cli,rich,ws]==1.*", "trio", "pillow", *SNAPSHOTS),
        tests="tests/server tests/client tests/issues",
    ),
    Suite(
        "mcp-2",
        "mcp==2.*",
        (
            "mcp[cli]==2.*",
            *("trio", "pillow", "blockbuster", "logfire", "pydantic-settings", *SNAPSHOTS),
        ),
        tests="tests/server tests/client tests/issues",
    ),
    Suite(
        "fastmcp",
        "fastmcp==4.*",
        (
            "fastmcp[tasks]==4.*",
            *(ASYNCIO, "pytest-env", "pytest-retry", "hypothesis", "psutil", "fastapi", "httpx"),
            *("opentelemetry-exporter-otlp-proto-grpc", *SNAPSHOTS),
        ),
        tests="tests/tools tests/server/middleware tests/server/mount tests/client/client",
    ),
    Suite(
        "pydantic-ai",
        "https://github.com/pydantic/pydantic-ai@v2.33.0",
        (
            "pydantic-ai-slim[mcp,openai,anthropic,logfire,cli,ui,web,retries,spec]==2.33.0",
            *("pydantic-evals==2.33.0", "mcp<2", "fastmcp<4", "mcp-types>=2", "blockbuster<1.6"),
            *("asgi-lifespan", "devtools", "dirty-equals", "inline-snapshot", "pytest-examples"),
            *("pytest-mock", "pytest-recording", "pytest-xdist", "pandas", "trio", "brotli"),
            *("exa-py", "tavily-python", "markdownify"),
        ),
        tests=(
            "tests/test_tool*.py tests/test_stream*.py tests/test_run*.py tests/test_usage*.py "
            "tests/test_function*.py tests/test_concurrency.py tests/test_mcp.py "
            "tests/models/test_model_[ft]*.py tests/test_agent.py"
        ),
    ),
    Suite(
        "websockets",
        "https://github.com/python-websockets/websockets@17.0.1",
        ("websockets==17.0.1", "werkzeug", "python-socks[asyncio]"),
        tests="tests/asyncio tests/sync tests/legacy tests/test_*.py",
        arguments=("-k", "not Proxy"),
        settings=(("WEBSOCKETS_TESTS_TIMEOUT_FACTOR", "30"),),
    ),
    Suite(
        "openai",
        "openai==3.*",
        (
            "openai[aiohttp]==3.*",
            *(ASYNCIO, "respx", "inline-snapshot", "rich", "trio", "botocore", "azure-identity"),
            *("websockets", "pillow", "numpy", "packaging", "httpx", "griffe"),
        ),
        tests=(
            "tests/test_[a-c]*client*.py tests/test_module_client.py tests/test_*response*.py "
            "tests/test_*stream*.py tests/test_sse*.py tests/lib/chat tests/lib/responses "
            "tests/lib/streaming tests/lib/test_[abe]*.py tests/lib/test_*runner*.py"
        ),
        arguments=("-W", "ignore"),
    ),
    Suite(
        "anthropic",
        "anthropic==2.*",
        (
            "anthropic[aiohttp,aws,bedrock,mcp,vertex]==2.*",
            *(ASYNCIO, "respx", "inline-snapshot", "dirty-equals", "time-machine", "hypothesis"),
            *("http-snapshot[httpx]==0.1.9", "rich", "griffe", "packaging", "importlib-metadata"),
        ),
        tests=(
            "tests/test_[cemrs]*.py tests/test_prepare.py tests/decoders tests/lib/_parse "
            "tests/lib/streaming tests/lib/test_[abrv]*.py tests/lib/tools/test_runner*.py"
        ),
        arguments=("-W", "ignore", "-p", "tests._alias_httpx"),
    ),
    Suite(
        "google-genai",
        None,
        ("google-genai[aiohttp,httpx]==3.*", ASYNCIO, "mcp", "pillow", "httpx"),
        tests="",
        arguments=(
            "--pyargs",
            *(
                f"google.genai.tests.{folder}"
                for folder in ("afc", "chats", "client", "errors", "mcp")
            ),
        ),
    ),
)
"""By name on the command line; all of them without one."""
