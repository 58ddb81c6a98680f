"""Split a results.jsonl of measure.py into one JSON file per case under results/; failed cases are told.

python benchmarks/sizing/collect.py results.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
COMPOSITION = 14  # groups of blocks kept of what was alive at the peak


def name(case: dict[str, Any]) -> str:
    shape = case["shape"]
    rows = f"-{shape['rows']}" if shape.get("rows") else ""
    history = "-history" if shape.get("history") else ""
    capped = f"-{shape['expected'].replace(' ', '_')}" if shape.get("expected") else ""
    return f"{case['id']}-{shape['sequence_len']}x{shape['micro_batch_size']}{rows}{history}{capped}"


def keep(case: dict[str, Any], folder: Path = RESULTS) -> bool:
    """Write one record as a file in ``folder``; False, and a line that says why, for one that failed."""
    if case.get("error") or not case.get("training"):
        print(f"not kept: {name(case)}: {case.get('error')}")
        return False
    folder.mkdir(parents=True, exist_ok=True)
    case = {**case, "composition": case.get("composition", [])[:COMPOSITION]}
    (folder / f"{name(case)}.json").write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")
    return True


def main() -> None:
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        keep(json.loads(line))


if __name__ == "__main__":
    main()
