"""Settings: who wins, and what a value that cannot be used comes to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import metertap
from metertap.settings import settings
from metertap.settings.address import Address
from metertap.settings.secret import Secret
from metertap.settings.settings import Settings
from metertap.settings.table import AUTO, TABLE
from support.programs import run
from support.warned import warnings_of

# By keyword: what the file says (TOML), the environment says, and the keyword says.
GIVEN: dict[str, tuple[str, str, object]] = {
    "enabled": ("false", "true", False),
    "window_size": ("10", "20", 30),
    "json_endpoint": ("false", "on", False),
    "json_port": ("1001", "1002", 1003),
    "json_host": ('"localhost"', "127.0.0.2", "127.0.0.3"),
    "announce": ("false", "on", False),
    "weight": ("false", "on", False),
    "context_window": ("10", "20", 30),
    "prometheus": ("true", "0", True),
    "prometheus_port": ("2001", "2002", 2003),
    "prometheus_host": ('"localhost"', "127.0.0.2", "127.0.0.3"),
    "series_limit": ("10", "20", 30),
    "allowed_hosts": ('["a", "b"]', "c, d", ["e"]),
    "json_socket": ('"/run/one"', "/run/two", Path("/run/three")),
    "prometheus_socket": ('"/run/one"', "/run/two", "auto"),
    "token": ('"one"', "two", "three"),
    "token_file": ('"/run/one"', "/run/two", Path("/run/three")),
    "tls_certfile": ('"/run/one"', "/run/two", Path("/run/three")),
    "tls_keyfile": ('"/run/one"', "/run/two", Path("/run/three")),
    "tls_client_cafile": ('"/run/one"', "/run/two", Path("/run/three")),
    "disabled_instrumentations": ('["a"]', "b,c", {"d"}),
    "service_name": ('"from file"', "from environment", "from keyword"),
    "alertmanager_url": ('"http://one:1"', "http://two", "https://three"),
    "alert_webhook_url": ('"http://one:1"', "http://two", "https://three"),
    "alert_every": ("5", "2.5", 60),
    "history": ('"/run/one"', "/run/two", Path("/run/three")),
    "history_size": ("10", "20", 30),
    "cost_repeats": ("true", "0", True),
}
ADDRESSES = (
    Address("http", "one", 1, ""),
    Address("http", "two", 80, ""),
    Address("https", "three", 443, ""),
)
PATHS = (Path("/run/one"), Path("/run/two"), Path("/run/three"))
READ: dict[str, tuple[object, object, object]] = {
    "enabled": (False, True, False),
    "window_size": (10, 20, 30),
    "json_endpoint": (False, True, False),
    "json_port": (1001, 1002, 1003),
    "json_host": ("localhost", "127.0.0.2", "127.0.0.3"),
    "announce": (False, True, False),
    "weight": (False, True, False),
    "context_window": (10, 20, 30),
    "prometheus": (True, False, True),
    "prometheus_port": (2001, 2002, 2003),
    "prometheus_host": ("localhost", "127.0.0.2", "127.0.0.3"),
    "series_limit": (10, 20, 30),
    "allowed_hosts": (frozenset("ab"), frozenset("cd"), frozenset("e")),
    "json_socket": PATHS,
    "prometheus_socket": (*PATHS[:2], AUTO),
    "token": (Secret("one"), Secret("two"), Secret("three")),
    "token_file": PATHS,
    "tls_certfile": PATHS,
    "tls_keyfile": PATHS,
    "tls_client_cafile": PATHS,
    "disabled_instrumentations": (frozenset("a"), frozenset("bc"), frozenset("d")),
    "service_name": ("from file", "from environment", "from keyword"),
    "alertmanager_url": ADDRESSES,
    "alert_webhook_url": ADDRESSES,
    "alert_every": (5.0, 2.5, 60.0),
    "history": PATHS,
    "history_size": (10, 20, 30),
    "cost_repeats": (True, False, True),
}

BAD = [
    ("PERFORMANCE_METRICS_ENABLED", "perhaps", "True"),
    ("METRICS_WINDOW_SIZE", "1", "1000"),
    ("METRICS_WINDOW_SIZE", "many", "1000"),
    ("METRICS_WINDOW_SIZE", "12.5", "1000"),
    ("METRICS_JSON_ENDPOINT_ENABLED", "2", "True"),
    ("METRICS_JSON_PORT", "65536", "9109"),
    ("METRICS_JSON_PORT", "-1", "9109"),
    ("PROMETHEUS_ENABLED", "maybe", "False"),
    ("PROMETHEUS_PORT", "tcp://10.0.0.7:9090", "9108"),  # what Kubernetes sets for a service
    ("METERTAP_SERIES_LIMIT", "0", "2000"),
    ("METERTAP_HISTORY", "http://127.0.0.1:9090", "None"),
    ("METERTAP_HISTORY_SIZE", "0", "512"),
    ("OTEL_SDK_DISABLED", "yes", "False"),
]


@pytest.mark.parametrize("name", TABLE)
def test_a_keyword_wins_over_the_environment_and_that_over_the_file(
    name: str, tmp_path: Path
) -> None:
    in_file, in_environment, keyword = GIVEN[name]
    from_file, from_environment, from_keyword = READ[name]
    default = getattr(settings.read(environ={}), name)
    file = tmp_path / "metertap.toml"
    file.write_text(f"{name} = {in_file}\n")
    named = {"METERTAP_CONFIG": str(file)}
    environ = {**named, TABLE[name][0]: in_environment}

    assert default == getattr(Settings(), name)
    assert getattr(settings.read(environ=named), name) == from_file
    assert getattr(settings.read(environ=environ), name) == from_environment
    found = settings.read({name: keyword}, environ)
    assert getattr(found, name) == from_keyword
    assert found.is_explicit(name)


@pytest.mark.parametrize(("variable", "bad", "taken"), BAD)
def test_a_bad_value_is_one_warning_that_names_variable_value_and_what_is_taken(
    variable: str, bad: str, taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings.read(environ={variable: bad})
    settings.read(environ={variable: bad})
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"{variable}={bad!r} cannot be used")
    assert warning.endswith(f"; {taken} is used instead")
    assert found.is_like(Settings())
    assert found.refused == (warning,)


def test_what_stands_in_for_a_bad_keyword_is_the_environment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = settings.read({"window_size": "many"}, {"METRICS_WINDOW_SIZE": "50"})
    assert found.window_size == 50
    assert found.sources["window_size"] == "environment"
    assert warnings_of(caplog)[0].endswith("; 50 is used instead")


def test_a_bad_value_leaves_the_other_settings_alone() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    found = settings.read(
        {"json_host": Hostile(), "window_size": 50}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:y:z"}
    )
    assert (found.window_size, found.json_host, found.otlp) == (50, "127.0.0.1", True)


def test_an_empty_variable_is_an_unset_one(caplog: pytest.LogCaptureFixture) -> None:
    assert settings.read(environ=dict.fromkeys([name for name, _ in TABLE.values()], " ")) == (
        Settings()
    )
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("METERTAP_SERIES_LIMT", "METERTAP_SERIES_LIMIT"),
        ("METERTAP_ALLOW_HOSTS", "METERTAP_ALLOWED_HOSTS"),
        ("METRICS_JSON_PROT", "METRICS_JSON_PORT"),
        ("METRIC_JSON_PORT", "METRICS_JSON_PORT"),
        ("METER_TAP_HISTORY", "METERTAP_HISTORY"),
        ("METRTAP_TOKEN", "METERTAP_TOKEN"),
        ("PROMETEUS_PORT", "PROMETHEUS_PORT"),
        ("PROMETHEUS_ENABLE", "PROMETHEUS_ENABLED"),
        ("PERFORMANCE_METRIC_ENABLED", "PERFORMANCE_METRICS_ENABLED"),
        ("METERTAP_ENABLED", "PERFORMANCE_METRICS_ENABLED"),
        ("METERTAP_PROMETHEUS_PORT", "PROMETHEUS_PORT"),
        ("METERTAP_WINDOW", "METRICS_WINDOW_SIZE"),
        ("METERTAP_PROT", "METRICS_JSON_PORT"),
        ("METERTAP_CONFG", "METERTAP_CONFIG"),
    ],
)
def test_a_misspelt_variable_is_one_warning_with_a_suggestion(
    misspelt: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.read(environ={misspelt: "1"})
    (warning,) = warnings_of(caplog)
    assert warning == (
        f"{misspelt} is no setting of metertap and is ignored; did you mean {meant}?"
    )


def test_a_variable_that_is_like_none_has_no_suggestion(caplog: pytest.LogCaptureFixture) -> None:
    settings.read(environ={"METERTAP_XYZ": "1"})
    assert warnings_of(caplog) == ["METERTAP_XYZ is no setting of metertap and is ignored"]


def test_variables_of_other_programs_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    settings.read(
        environ={
            "PROMETHEUS_MULTIPROC_DIR": "/tmp/x",
            "PROMETHEUS_SERVICE_PORT": "9090",
            "METRICS_PORT": "8000",
            "METRIC_PORT": "8000",
            "METEOR_SETTINGS": "{}",
            "PROMETHEUS_URL": "http://prometheus:9090",
        }
    )
    assert warnings_of(caplog) == []


def test_a_misspelt_keyword_is_one_warning_with_a_suggestion(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metertap.instrument(json_prot=0).shutdown()  # type: ignore[call-arg]
    (warning,) = warnings_of(caplog)
    assert "instrument(json_prot=…)" in warning
    assert warning.endswith("did you mean json_port?")


def test_what_is_no_meter_provider_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with metertap.instrument(meter_provider="http://collector:4318") as tap:
        metertap.record_tool_call("search", True)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    (warning,) = warnings_of(caplog)
    assert warning.startswith("meter_provider='http://collector:4318' is no meter provider")


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_VARIABLES = [
    *(variable for variable, _ in TABLE.values()),
    "METERTAP_CONFIG",
    "OTEL_SDK_DISABLED",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_RESOURCE_ATTRIBUTES",
]


class Hostile:
    """An object that answers nothing."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("no class")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__
    __bool__ = __len__ = __iter__ = __int__ = __hash__ = __str__  # type: ignore[assignment]


_objects = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    _texts,
    st.binary(max_size=9),
    st.lists(st.integers() | _texts, max_size=3),
    st.builds(Hostile),
    st.builds(lambda: [Hostile()]),
)
_relaxed = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_relaxed
@given(environ=st.dictionaries(st.sampled_from(_VARIABLES), _texts))
def test_any_text_in_any_variable_gives_settings_that_can_be_used(environ: dict[str, str]) -> None:
    found = settings.read(environ=environ)
    assert 2 <= found.window_size <= 1_000_000
    assert 0 <= found.json_port <= 65535
    assert 0 <= found.prometheus_port <= 65535
    assert found.series_limit >= 1
    assert found.json_host
    assert found.otlp_protocol in {"grpc", "http/protobuf"}
    assert isinstance(found.enabled, bool)


@hypothesis_settings(
    _relaxed,
    max_examples=hypothesis_settings().max_examples // 2,  # each with a tap of its own
)
@given(
    environ=st.dictionaries(st.sampled_from([name for name, _ in TABLE.values()]), _texts),
    options=st.dictionaries(st.sampled_from([*TABLE, "meter_provider", "windw_size"]), _objects),
)
def test_no_value_of_any_kind_makes_instrument_raise(
    environ: dict[str, str], options: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METRICS_JSON_ENDPOINT_ENABLED", "false")
        for name, text in environ.items():
            patched.setenv(name, text)
        metertap.reset()
        with metertap.instrument(**options) as tap:
            assert tap.is_active is tap.snapshot()["enabled"]


@pytest.mark.programs
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux names parents")
@pytest.mark.parametrize("first", ["", "metertap.instrument(json_endpoint=False)"])
def test_workers_tell_a_mistake_in_their_settings_once_together(first: str) -> None:
    program = """
import os, sys, threading
FIRST
for _ in range(3):
    if os.fork() == 0:
        import metertap
        metertap.instrument(json_endpoint=False, window_size="few")
        for thread in threading.enumerate():
            if thread.name == "metertap-log":
                thread.join()
        os._exit(0)
sys.exit(any(os.wait()[1] for _ in range(3)))
""".replace("FIRST", first and f"import metertap; {first}")
    ended = run(sys.executable, "-c", program, env={"METRICS_WINDOW_SIZ": "3"})
    assert ended.status == 0
    told = sorted(line.partition("=")[0] for line in ended.told.splitlines())
    assert told == [
        "metertap: METRICS_WINDOW_SIZ is no setting of metertap and is ignored; "
        "did you mean METRICS_WINDOW_SIZE?",
        "metertap: window_size",
    ]
