"""A framework whose methods are measured, by functions and by wrapt."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap.measuring import frameworks
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from support.any_framework import MODULE, Framework, Named


@pytest.fixture(params=["function", "wrapt"])
def framework(request: pytest.FixtureRequest) -> Iterator[Framework]:
    module: Any = types.ModuleType(MODULE)
    owner = type("Framework", (Framework,), dict(vars(Framework)))
    module.Framework = owner
    sys.modules[MODULE] = module
    named = Named()
    targets = [
        frameworks.plain_method("Framework.run", named),
        frameworks.coroutine_method("Framework.later", named),
    ]
    if request.param == "wrapt":
        targets = [Target(target.attribute, target.wrapper) for target in targets]
    patches = PatchSet(MODULE, targets)
    with metertap.instrument(json_endpoint=False):
        patches.install()
        made = owner()
        made.handlers = named
        made.tools = {"search": lambda *args: list(args)}
        yield made
        patches.uninstall()
    del sys.modules[MODULE]
