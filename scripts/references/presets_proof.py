"""The pages that benchmarks/presets makes: cost, the solver's choices, the speed model, and the presets under caps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "presets"


def preset_pages() -> dict[Path, str]:
    """Each page with its text; the table of proofs only where results are committed."""
    answers, speed, table = (_load(name) for name in ("answers", "fit_speed", "table"))
    texts = {name: make() for name, make in answers.PAGES.items()} | {"speed.md": speed.page()}
    if (FOLDER / "results" / "results.jsonl").is_file():
        texts["presets.md"] = table.page(FOLDER / "results")
    return {ROOT / "docs" / name: text for name, text in texts.items()}


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"presets_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
