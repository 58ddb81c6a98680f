"""A script that stands in no package, as a module: for what makes pages of its results, and for its tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_script(path: Path) -> ModuleType:
    """The script at ``path``, named by its folder and itself: benchmarks/sizing/blind.py is sizing_blind.

    Each call runs the script again. Raises FileNotFoundError where there is none, and what the script raises.
    """
    name = f"{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks up the module that it is defined in
    spec.loader.exec_module(module)
    return module
