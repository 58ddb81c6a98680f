"""The pages that benchmarks/presets makes: cost, the solver's choices, the speed model, and the presets under caps."""

from __future__ import annotations

from pathlib import Path

from load_script import load_script

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "presets"


def preset_pages() -> dict[Path, str]:
    """Each page with its text; the table of proofs only where results are committed."""
    answers, speed, table = (load_script(FOLDER / f"{name}.py") for name in ("answers", "fit_speed", "table"))
    texts = {name: make() for name, make in answers.PAGES.items()} | {"speed.md": speed.page()}
    if (FOLDER / "results" / "results.jsonl").is_file():
        texts["presets.md"] = table.page(FOLDER / "results")
    return {ROOT / "docs" / name: text for name, text in texts.items()}
