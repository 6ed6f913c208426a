"""Comparisons need scipy, of the extra `regressions`, which the oldest environments lack."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("scipy") else ["test_regressions.py"]
