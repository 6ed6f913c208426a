"""The published suites: where each library's tests come from, and what they need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One library's own tests, as its source distribution carries them."""

    name: str
    requirement: str
    """The version whose source distribution is unpacked."""
    tests: str = "tests"
    """Folder or files in it, separated by spaces."""
    needs: tuple[str, ...] = ()
    """What the tests import beside the library."""
    arguments: tuple[str, ...] = ()
    """More arguments of pytest."""
    server: str | None = None
    """A server program that must be on PATH; it is started on the port that the tests expect."""
    port: int = 0
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables."""


ASYNCIO = "pytest-asyncio"

SUITES = (
    Suite("cachetools", "cachetools==7.*"),
    Suite("async-lru", "async-lru==2.*", needs=(ASYNCIO, "pytest-timeout")),
    Suite("diskcache", "diskcache==5.*", needs=("django", "pytest-django", "pytest-xdist")),
    Suite(
        "cashews",
        "cashews==7.*",
        needs=(ASYNCIO, "pytest-rerunfailures", "fakeredis", "hypothesis"),
    ),
    Suite("aiocache", "aiocache==0.12.*", needs=(ASYNCIO, "pytest-mock", "marshmallow")),
)
"""By name on the command line; all of them without one."""
