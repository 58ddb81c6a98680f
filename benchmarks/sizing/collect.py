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
    return f"{case['id']}-{shape['sequence_len']}x{shape['micro_batch_size']}{rows}{history}"


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case.get("error") or "training" not in case:
            print(f"not kept: {name(case)}: {case.get('error')}")
            continue
        case["composition"] = case.get("composition", [])[:COMPOSITION]
        (RESULTS / f"{name(case)}.json").write_text(json.dumps(case, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
