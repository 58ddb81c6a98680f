"""The folder that goes into the trainer's process, importable as it is there; and a small real Trainer."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

INJECT = Path(__file__).resolve().parents[2] / "launcher" / "inject"


@pytest.fixture(scope="module")
def inject() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(INJECT))
        yield importlib.import_module
    for path in INJECT.glob("ql_*.py"):
        sys.modules.pop(path.stem, None)


def read_events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
