"""Put this folder on PYTHONPATH and set QL_TEST_FAULT: the trainer then fails as asked (see ql_test_faults).

Imported by every python of a run. It waits for ql's own callback to be imported, which happens in trainers only.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        import ql_test_faults

        ql_test_faults.install()


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "ql_telemetry":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


if os.environ.get("QL_TEST_FAULT"):
    sys.meta_path.insert(0, _Finder())
