"""Settings for Django's own tests: a JUnit report, real servers, and metertap if asked for."""

from __future__ import annotations

import os
from pathlib import Path

import in_force
from test_sqlite import *  # noqa: F403  (Django's own settings for its tests)

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:6379",
    },
    "memcached": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:11211",
    },
}
TEST_RUNNER = "xmlrunner.extra.djangotestrunner.XMLTestRunner"
TEST_OUTPUT_DIR = str(Path(os.environ["REPORT"]).parent)
TEST_OUTPUT_FILE_NAME = Path(os.environ["REPORT"]).name

if os.environ["IN_FORCE"]:
    in_force.pytest_configure()
