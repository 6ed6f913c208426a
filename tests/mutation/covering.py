"""Which tests are to notice a change of which files: few, fast, and none that depends on timing."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Files that the same tests are about."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    """Arguments of pytest."""


def _all(pattern: str, *names: str) -> tuple[str, ...]:
    return tuple(pattern.format(name) for name in names)


GROUPS = (
    Group(
        _all(
            "src/metertap/recording/{}.py",
            "__init__",
            "tool_series",
            "recorder",
            "registry",
            "batch",
            "buffer",
            "percentiles",
            "window",
            "operation_series",
            "latency_series",
            "cache_series",
            "activity",
            "baseline",
            "figures",
            "routes",
        ),
        (
            "tests/recording",
            "tests/measuring/test_by_hand.py",
            "tests/measuring/test_blocks.py",
            "tests/measuring/test_decorated.py",
            "tests/otel/test_recording_path.py",
            "tests/workers/test_merging.py",
            "tests/workers/test_telling.py",
            "tests/workers/test_wrong_sections.py",
            "tests/caching",
            "tests/exporters/test_json_document.py",
            "tests/exporters/test_json_operations.py",
            "--deselect=tests/recording/test_concurrency.py::test_no_record_of_1_600_000_is_lost",
            "--deselect=tests/recording/test_concurrency.py::test_memory_is_bounded_by_windows",
            "--deselect=tests/otel/test_recording_path.py::test_benchmarks_run",
            "-k=not consistent_while and not collections_are and not record_meanwhile",
        ),
    ),
    Group(
        (
            *_all(
                "exporters/metertap_exporters/json/{}.py",
                "document",
                "reader",
                "text",
                "foreign",
                "system",
                "shape",
                "weights",
            ),
            *_all(
                "exporters/metertap_exporters/{}.py",
                "prometheus",
                "on_demand",
                "exposition/views",
                "exposition/text",
                "exposition/otel",
                "exposition/accept",
                "exposition/families",
                "exposition/summed",
            ),
        ),
        (
            "tests/exporters/test_known_figures.py",
            "tests/exporters/test_summed_families.py",
            "tests/exporters/test_readers.py",
            "tests/exporters/test_json_document.py",
            "tests/exporters/test_json_operations.py",
            "tests/exporters/test_json_endpoint.py",
            "tests/exporters/test_json_shape.py",
            "tests/exporters/test_foreign_tools.py",
            "tests/exporters/test_prometheus_exporter.py",
            "tests/exporters/test_prometheus_families.py",
            "tests/exporters/test_prometheus_text.py",
            "tests/exporters/test_kept_lines.py",
            "tests/exporters/test_views_of_workers.py",
            "tests/costs/test_report.py",
            "tests/recording/test_reset_metrics.py",
            "-k=not consistent_while and not at_the_same_time and not record_meanwhile",
        ),
    ),
    Group(
        _all(
            "src/metertap/measuring/{}.py",
            "calls",
            "functions",
            "by_hand",
            "blocks",
            "slots",
            "callables",
            "wrappers",
            "frameworks",
            "unfinished",
        ),
        (
            "tests/measuring/test_calls.py",
            "tests/measuring/test_by_hand.py",
            "tests/measuring/test_blocks.py",
            "tests/measuring/test_decorated.py",
            "tests/measuring/test_functions.py",
            "tests/measuring/test_function_figures.py",
            "tests/measuring/test_counted_once.py",
            "tests/measuring/test_callables.py",
            "tests/measuring/test_frameworks.py",
            "tests/measuring/test_framework_weights.py",
            "tests/measuring/test_handler_times.py",
            "tests/measuring/test_generators.py",
            "tests/measuring/test_interrupts.py",
            "tests/patching/test_pickled_by_value.py",
            "tests/patching/test_stand_ins_handed_on.py",
            "tests/instrumentation/tools/test_weights.py",
            "tests/caching",
        ),
    ),
    Group(
        ("src/metertap/measuring/in_threads.py",),
        (
            "tests/measuring/test_in_threads.py",
            "tests/instrumentation/tools/test_tools_in_threads.py",
        ),
    ),
    Group(
        ("src/metertap/recording/views.py",),
        (
            "tests/recording",
            "tests/workers/test_merging.py",
            "tests/workers/test_telling.py",
            "tests/workers/test_wrong_sections.py",
            "tests/weight",
            "tests/costs",
            "tests/exporters/test_json_document.py",
            "tests/exporters/test_json_operations.py",
            "--ignore=tests/costs/test_short_processes.py",
            "--ignore=tests/costs/test_clients.py",
            "--ignore=tests/costs/test_reuse.py",
            "--ignore=tests/costs/test_price_table.py",
            "--deselect=tests/recording/test_concurrency.py::test_no_record_of_1_600_000_is_lost",
            "--deselect=tests/recording/test_concurrency.py::test_memory_is_bounded_by_windows",
            "-k=not consistent_while and not collections_are and not record_meanwhile",
        ),
    ),
    Group(
        ("src/metertap/measuring/generators.py",),
        (
            "tests/measuring/test_generators.py",
            "tests/measuring/test_generators_left_open.py",
            "tests/measuring/test_by_hand.py",
            "tests/measuring/test_blocks.py",
            "tests/measuring/test_decorated.py",
            "tests/measuring/test_counted_once.py",
        ),
    ),
    Group(
        (
            *_all(
                "src/metertap/costs/{}.py",
                "budget",
                "by_hand",
                "call",
                "configured",
                "ledger",
                "model_calls",
                "points",
                "price_table",
                "prices",
                "recommendations",
                "repeats",
                "report",
                "reuse",
                "savings",
                "tool_cost",
                "usage",
                "what_if",
            ),
            "src/metertap/recording/arithmetic.py",
            "src/metertap/recording/usage_series.py",
        ),
        (
            "tests/costs",
            "tests/instrumentation/models/test_openai.py",
            "--ignore=tests/costs/test_short_processes.py",
            "--ignore=tests/costs/test_clients.py",
            "-k=not faults",
        ),
    ),
    Group(
        (
            *_all("src/metertap/weight/{}.py", "advice", "definitions", "results", "tokens"),
            "src/metertap/recording/weight_series.py",
        ),
        ("tests/weight", "tests/instrumentation/tools/test_weights.py"),
    ),
    Group(
        _all(
            "src/metertap/workers/{}.py",
            *("merging", "runs", "together", "rows", "columns", "merged"),
            *("checking", "coding", "exchange", "ledger", "records", "sections", "wire"),
        ),
        _all(
            "tests/workers/test_{}.py",
            *("merging", "telling", "wrong_sections", "merged", "windows", "alike", "left_out"),
        ),
    ),
    Group(
        _all(
            "src/metertap/workers/{}.py",
            *("answers", "group", "holder", "holding", "lines", "members", "past", "saving"),
        ),
        _all(
            "tests/workers/test_{}.py",
            *("group", "distrust", "ended_workers", "exhausted", "left_out", "removed"),
            *("targets", "telling"),
        ),
    ),
    Group(
        _all("src/metertap/history/{}.py", "sketch", "tally"),
        ("tests/history/test_sketch.py", "tests/history/test_tally.py"),
    ),
    Group(
        _all(
            "src/metertap/history/{}.py",
            *("buckets", "engine", "engine_costs", "engine_sums", "promql_api", "times"),
        ),
        ("tests/history/test_engine_wrong.py",),
    ),
    Group(
        _all("src/metertap/history/{}.py", "store", "writer", "gathering", "database", "forks"),
        _all("tests/history/test_{}.py", "store", "writer", "gathering"),
    ),
    Group(
        _all(
            "src/metertap/history/{}.py",
            *("answers", "comparison", "file_answers", "findings", "regressions", "savings"),
            *("spending", "trends", "weights"),
        ),
        (
            *_all("tests/history/test_{}.py", "regressions", "store", "weights"),
            *_all("tests/cli/test_{}.py", "regressions", "trends", "costs_history"),
            "tests/costs/test_days.py",
            "-m=not programs and not real",
        ),
    ),
    # `v1.py` and `v1_handlers.py` are for the SDK 1.x, and are examined where that is installed.
    Group(
        _all(
            "instrumentation/metertap_instrumentation/tools/mcp/{}.py",
            "requests",
            "served",
            "weights",
            "mcpserver",
            "handlers",
            "frameworks",
            "operations",
            "sessions",
            "client",
            "errors",
            "names",
            "v2",
            "v1",
            "v1_handlers",
            "__init__",
        ),
        (
            *_all(
                "tests/instrumentation/tools/test_mcp{}.py",
                "1_kernel",
                "2",
                "_client",
                "_clock",
                "_errors",
                "_fastmcp",
                "_frameworks",
                "_handlers",
                "_kernel",
                "_kinds",
                "_names",
                "_nesting",
                "_operations",
                "_outcomes",
                "_requests",
                "_sessions",
                "_transports",
            ),
            "tests/instrumentation/tools/test_weights.py",
            "-k=not made_up_names_leave and not program_on_pipes and not server_on_pipes",
        ),
    ),
)
